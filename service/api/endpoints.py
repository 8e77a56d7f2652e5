"""Declares the endpoints of the API: what each takes, what it returns, and in which formats.

A module of `service/api` writes `@endpoint(blueprint, path, summary, Schema, …)` above a view, in place of Flask's
`@blueprint.get`. `service.api.openapi` makes the OpenAPI document from these declarations.

- `Schema` describes the payload: a subclass of `shared_schemas.Meta` if a snapshot is behind it.
- `query` is a subclass of `Query`. The view gets it, validated, as its first argument. An unknown parameter is a 400.
- `body` is the same for a JSON body: a subclass of `Body`.
- `formats` are the formats besides JSON. Each has an address of its own (`path.csv`) and answers to `Accept`. If there
  are any, a media type that none has is a 406.
- `problems` are names in `problems.KINDS`.
- `other_responses` are further successful responses by status, for example 202 with a task.

A view returns the payload as a dict, or a `Response` if it is not a payload (a stream, a file, a 202). A new endpoint
also needs a heading with its path in `docs/api.md`, and each of its keys there; tests check both.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from flask import Blueprint, Response, current_app, request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from werkzeug.datastructures import MIMEAccept

from service.drawing.language import DEFAULT_LANGUAGE, LOCALES
from service.http.problems import Problem
from service.snapshots import csv

JSON, CSV = "application/json", "text/csv"
MEDIA_RANGE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+*-]+|\*/\*", re.ASCII).fullmatch
ISO3_PATTERN = "^[A-Za-z]{3}$"
MAX_NUMBER = 2**31 - 1
"""The largest number of a snapshot or a run: PostgreSQL's `integer`."""

NO_SNAPSHOT_PROBLEMS = ("no-data", "no-snapshot", "no-real-snapshot")
"""Problems of an endpoint that needs a snapshot in service."""

OUTCOME_PROBLEMS = (*NO_SNAPSHOT_PROBLEMS, "no-outcome")
"""Problems of an endpoint that takes `outcome` and needs a snapshot."""

AS_OF_PROBLEMS = ("nothing-known", "tasks-need-a-key", "too-many-tasks", "task-failed", "queue-full")
"""Problems of an endpoint that takes `as_of`."""

Outcome = Literal["all", "state_based"]
"""An outcome in a query or a body: the values of `riskmodel.outcomes.OUTCOMES`."""

Payload = dict[str, Any]
Content = type[BaseModel] | tuple[str, ...]
"""The content of a response: the schema of its JSON, or its media types if it is not JSON."""
View = Callable[..., Payload | Response]
Input = TypeVar("Input", bound=BaseModel)


class Query(BaseModel):
    """The query parameters of an endpoint. An unknown or repeated parameter is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OutcomeQuery(Query):
    """A read about one outcome."""

    outcome: Outcome | None = Field(
        default=None, description="the deaths that are forecast; by default the headline of the snapshot"
    )


class Body(BaseModel):
    """The JSON body of an endpoint. An unknown field is refused, and so is a value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _matches(pattern: str, rule: str) -> BeforeValidator:
    def check(text: object) -> object:
        if isinstance(text, str) and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(rule)
        return text

    return BeforeValidator(check)


# Pydantic alone also accepts timestamps as dates, and "1e2" or "+5" as numbers.
Day = Annotated[date, _matches(r"\d{4}-\d{2}-\d{2}", "a day is written YYYY-MM-DD")]
"""A day in a query."""

IN_DIGITS = _matches(r"\d{1,10}", "a whole number is written in digits")
"""Validates how a whole number in a query is written; the field sets its limits."""

Iso3 = Annotated[str, Field(pattern=ISO3_PATTERN), AfterValidator(str.upper)]
"""The code of a country in a query or a body, in capitals or not."""

COMMA_SEPARATED = BeforeValidator(lambda text: text.split(",") if isinstance(text, str) else text)
"""Validates a list in a query: values separated by commas."""


@dataclass(frozen=True)
class Format:
    """A format of a payload besides JSON: the suffix of its address, its media type, and the function that writes it.

    `render` takes the payload and the `Query`. `schema` describes a format that is itself JSON.
    """

    suffix: str
    media_type: str
    render: Callable[[Payload, Any], str]
    schema: type[BaseModel] | None = None


@dataclass(frozen=True)
class Operation:
    """A declared endpoint. Calling it handles the current request."""

    view: View
    path: str
    summary: str
    responses: Mapping[int, Content]
    query: type[Query] | None
    body: type[Body] | None
    formats: tuple[Format, ...]
    problems: tuple[str, ...]
    links: Mapping[str, Mapping[str, str]]

    def __call__(self, **path_values: Any) -> Response:
        """Validate the request before any data is read, call the view, and write its payload in the right format."""
        chosen, values = self._format(), _query_values()
        spreadsheet = _spreadsheet_language(values) if self.media_type(chosen) == CSV else None
        query = _validated(self.query or Query, values, "bad-query", "parameter")
        inputs: list[BaseModel] = [query] if self.query else []
        if self.body:
            inputs.append(_validated(self.body, request.get_json(), "bad-body", "field"))
        payload = self.view(*inputs, **path_values)
        if isinstance(payload, Response):
            response = payload
        else:
            text = chosen.render(payload, query) if chosen else current_app.json.dumps(payload)
            status, media_type = next(iter(self.responses)), f"{chosen.media_type}; charset=utf-8" if chosen else JSON
            response = Response(text, status, content_type=media_type)
            if payload.get("next"):
                response.headers["Link"] = f'<{payload["next"]}>; rel="next"'
        if self.formats and str(request.url_rule) == self.path:
            response.vary.add("Accept")
        if spreadsheet and response.mimetype == CSV:
            response.set_data(csv.for_spreadsheet(response.get_data(as_text=True), spreadsheet))
            if request.args["excel"] == "1" and "lang" not in request.args:
                response.vary.add("Accept-Language")
        return response

    def media_type(self, chosen: Format | None) -> str:
        """Return the media type of a format of this endpoint; None stands for the main one."""
        content = next(iter(self.responses.values()))
        return chosen.media_type if chosen else content[0] if isinstance(content, tuple) else JSON

    def _format(self) -> Format | None:
        """Return the format that the address names, else the one that `Accept` prefers. None stands for JSON.

        An address with one form has no choice, so it answers whatever `Accept` says.
        """
        rule = str(request.url_rule)
        if rule != self.path:
            return next(each for each in self.formats if rule == f"{self.path}.{each.suffix}")
        content = next(iter(self.responses.values()))
        if not self.formats:
            return None
        offered = [*(content if isinstance(content, tuple) else (JSON,)), *(each.media_type for each in self.formats)]
        # Parameters such as charset do not count: all text is in UTF-8.
        accepted = [(media.partition(";")[0].strip(), quality) for media, quality in request.accept_mimetypes]
        readable = MIMEAccept([(media, quality) for media, quality in accepted if MEDIA_RANGE(media)])
        best = readable.best_match(offered) if readable else offered[0]
        if best is None:
            raise Problem("not-acceptable", offered=offered)
        return next((each for each in self.formats if each.media_type == best), None)


def endpoint(
    blueprint: Blueprint,
    path: str,
    summary: str,
    content: type[BaseModel] | str | tuple[str, ...],
    *,
    method: str = "GET",
    status: int = 200,
    other_responses: Mapping[int, type[BaseModel]] | None = None,
    query: type[Query] | None = None,
    body: type[Body] | None = None,
    formats: Sequence[Format] = (),
    problems: Sequence[str] = (),
    links: Mapping[str, Mapping[str, str]] | None = None,
) -> Callable[[View], Operation]:
    """Declare an endpoint, and serve it at `path` and at `path.suffix` of each format.

    `content` is the schema of the payload, or the media type (or types) of a response that is not JSON. `links` maps
    another endpoint, as `blueprint.view`, to the place of its path values in the payload: {"number": "/data/0/id"}.
    """

    def declare(view: View) -> Operation:
        main: Content = (content,) if isinstance(content, str) else content
        responses: dict[int, Content] = {status: main, **(other_responses or {})}
        operation = Operation(view, path, summary, responses, query, body, tuple(formats), tuple(problems), links or {})
        for rule in (path, *(f"{path}.{each.suffix}" for each in formats)):
            blueprint.add_url_rule(rule, view.__name__, operation, methods=[method])
        return operation

    return declare


def _query_values() -> dict[str, str]:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise Problem("bad-query", parameter=name, rule="may be given once only")
    return request.args.to_dict()


def _spreadsheet_language(values: dict[str, str]) -> str | None:
    """Take `excel` and `lang` from the query of a CSV. Return the language of the spreadsheet; None for a plain CSV."""
    excel, lang = values.pop("excel", None), values.pop("lang", None)
    for parameter, value, allowed in (("excel", excel, ("1", *LOCALES)), ("lang", lang, LOCALES)):
        if value is not None and value not in allowed:
            raise Problem("bad-query", parameter=parameter, rule=f"one of: {', '.join(allowed)}")
    if excel != "1":
        return excel
    return lang or request.accept_languages.best_match(list(LOCALES), DEFAULT_LANGUAGE)


def _validated(model: type[Input], values: object, problem: str, member: str) -> Input:
    """Return the values as a model. Raises Problem for the first invalid one: its name under `member`, and the rule."""
    try:
        return model.model_validate(values)
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_context=False)[0]
        name = str(error["loc"][0]) if error["loc"] else member
        rule = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            known = ", ".join(field.alias or key for key, field in model.model_fields.items())
            rule = f"unknown {member}; use one of: {known}" if known else f"this endpoint takes no {member}"
        raise Problem(problem, **{member: name}, rule=rule) from None
