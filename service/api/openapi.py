"""How a resource of the API is declared, and what follows from that: its OpenAPI 3.1 entry, what it takes, its forms.

A module of `service/api` puts `@offers(blueprint, path, summary, Model, …)` above the view in place of Flask's own
`@blueprint.get`; `Model` describes the payload (a subclass of `schemas.Meta` for all that a snapshot stands behind).
`asks` is a subclass of `Asked` that describes the query: the view gets it first, checked; whatever it does not name is
a 400. `takes` is the same for a JSON body. `forms` are what it is offered in beside JSON: each is an address of its own
(`path.csv`) and an answer to `Accept`; what nobody offers is a 406. `problems` are names of kinds in `problems.KINDS`;
`more` are other good answers by status (202: a task), each a model or a media type. A view returns the payload as a
dict, or a Response where it is none (a stream, a file, a 202). What remains is a heading with the path in `docs/api.md`
and each key named there; tests hold the three together. This module knows no store, and not what any payload says.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from werkzeug.datastructures import MIMEAccept
from werkzeug.routing import Rule

from riskmodel import __version__
from service.api.schemas import ProblemDocument
from service.http.problems import KINDS, Problem

JSON = "application/json"
PROBLEM = "application/problem+json"
REFERENCE = "#/components/schemas/{model}"

SUMMARY = "Early warning of political violence: calibrated country risk, with its uncertainty and its sources."
LICENCE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
PART = re.compile(r"<(?:([^<>]+):)?(\w+)>")
ISO3 = "^[A-Z]{3}$"
GREATEST = 2**31 - 1

AT_THE_DOOR = (
    *("key-needed", "key-refused", "key-cannot-write", "too-many-requests"),
    *("unreadable-request", "large-request", "long-address", "busy"),
)
ANYWHERE = (*AT_THE_DOOR, "bad-query", "not-acceptable", "unreadable-data", "unreadable-store")
"""The kinds of problem that any resource may answer with; beside them the plain 404 and 500 of HTTP."""

UNSERVED = ("no-data", "no-snapshot", "no-real-snapshot")
"""Those of a resource that needs a snapshot in service."""

OF_PAST = ("nothing-known", "task-failed", "queue-full")
"""Those of a resource that can be asked about a past moment."""

Payload = dict[str, Any]
Answer = type[BaseModel] | tuple[str, ...]
"""What an answer is: the model of its JSON, or the media types of what is none."""
Model = TypeVar("Model", bound=BaseModel)


class Asked(BaseModel):
    """The query of a resource. What it does not name is refused, and so is a parameter given twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _written(pattern: str, how: str) -> BeforeValidator:
    def check(text: object) -> object:
        if isinstance(text, str) and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(how)
        return text

    return BeforeValidator(check)


Day = Annotated[date, _written(r"\d{4}-\d{2}-\d{2}", "a day is written YYYY-MM-DD")]
"""A day in a query, and no other way to write one."""

WHOLE = _written(r"\d{1,10}", "a whole number is written in digits")
"""What a whole number in a query has to be like, beside the limits of its field."""

Iso3 = Annotated[str, Field(pattern=ISO3)]
"""A country's code in a query."""

SEPARATED = BeforeValidator(lambda text: text.split(",") if isinstance(text, str) else text)
"""A list in a query: its values between commas."""


@dataclass(frozen=True)
class Form:
    """A way to write a payload beside JSON: the end of its address, its media type, and how it is made.

    `render` is given the payload and what was asked, an `Asked`; `said` describes what is JSON again.
    """

    suffix: str
    media: str
    render: Callable[[Payload, Any], str]
    said: type[BaseModel] | None = None


@dataclass(frozen=True)
class Operation:
    """One declared resource: a view, and what is promised of it. Calling it answers the current request."""

    view: Callable[..., Payload | Response]
    path: str
    summary: str
    answers: Mapping[int, Answer]
    asks: type[Asked] | None
    takes: type[BaseModel] | None
    forms: tuple[Form, ...]
    problems: tuple[str, ...]
    leads_to: Mapping[str, Mapping[str, str]]

    def __call__(self, **where: Any) -> Response:
        """Check what is asked before anything is read, and write what the view says in the form that is wanted."""
        form = self._form()
        given: list[BaseModel] = []
        asked = _checked(self.asks or Asked, _query(), "bad-query", "parameter")
        if self.asks:
            given.append(asked)
        if self.takes:
            given.append(_checked(self.takes, request.get_json(), "bad-body", "field"))
        said = self.view(*given, **where)
        if isinstance(said, Response):
            said.vary.add("Accept")
            return said
        text = form.render(said, asked) if form else current_app.json.dumps(said)
        answer = Response(text, content_type=f"{form.media}; charset=utf-8" if form else JSON)
        answer.vary.add("Accept")  # what accepts none of the forms is a 406
        if said.get("next"):
            answer.headers["Link"] = f'<{said["next"]}>; rel="next"'
        return answer

    def _form(self) -> Form | None:
        """The form that the address names, else the one that is accepted best; None is what the view says, or JSON."""
        rule = str(request.url_rule)
        if rule != self.path:
            return next(form for form in self.forms if rule == f"{self.path}.{form.suffix}")
        plain = next(iter(self.answers.values()))
        offered = [*(plain if isinstance(plain, tuple) else (JSON,)), *(form.media for form in self.forms)]
        # Parameters are set aside: who asks for JSON in UTF-8 is content with JSON.
        wanted = MIMEAccept([(media.partition(";")[0].strip(), share) for media, share in request.accept_mimetypes])
        best = wanted.best_match(offered) if wanted else offered[0]
        if best is None:
            raise Problem("not-acceptable", offered=offered)
        return next((form for form in self.forms if form.media == best), None)


def offers(
    blueprint: Blueprint,
    path: str,
    summary: str,
    said: type[BaseModel] | str | tuple[str, ...],
    *,
    method: str = "GET",
    status: int = 200,
    more: Mapping[int, type[BaseModel] | str | tuple[str, ...]] | None = None,
    asks: type[Asked] | None = None,
    takes: type[BaseModel] | None = None,
    forms: Sequence[Form] = (),
    problems: Sequence[str] = (),
    leads_to: Mapping[str, Mapping[str, str]] | None = None,
) -> Callable[[Callable[..., Payload | Response]], Operation]:
    """Declare a resource, and serve it at `path` and, for each form, at `path.suffix`.

    `said` is the model of its payload, or the media type (or types) of what is no JSON. `leads_to` names other
    resources, as `blueprint.view`, and where in the payload what they need is found: {"number": "/data/0/id"}.
    """

    def declare(view: Callable[..., Payload | Response]) -> Operation:
        answers = {
            code: (answer,) if isinstance(answer, str) else answer
            for code, answer in ((status, said), *(more or {}).items())
        }
        made = Operation(view, path, summary, answers, asks, takes, tuple(forms), tuple(problems), leads_to or {})
        for rule in (path, *(f"{path}.{form.suffix}" for form in forms)):
            blueprint.add_url_rule(rule, view.__name__, made, methods=[method])
        return made

    return declare


def _query() -> dict[str, str]:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise Problem("bad-query", parameter=name, rule="stands at most once")
    return request.args.to_dict()


def _checked(model: type[Model], given: object, kind: str, what: str) -> Model:
    """What was asked, as its model. Raises Problem naming the first thing that is wrong, and the rule it breaks."""
    try:
        return model.model_validate(given)
    except ValidationError as refused:
        wrong = refused.errors(include_url=False, include_context=False)[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else what
        rule = wrong["msg"].removeprefix("Value error, ")
        if wrong["type"] == "extra_forbidden":
            known = ", ".join(field.alias or key for key, field in model.model_fields.items())
            rule = f"there is no such {what}; there are: {known}" if known else f"no {what} is taken here"
        raise Problem(kind, **{what: name}, rule=rule) from None


class _Schemas(GenerateJsonSchema):
    """Schemas without a title for each field, which would repeat its name, and without defaults, which are ours."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """The schema without its default."""
        return self.generate_inner(schema["schema"])


def operations(app: Flask) -> list[tuple[str, str, Rule, Operation]]:
    """All that an app declares: address (`/v1/scores/{iso3}`), suffix of its form or nothing, rule, operation."""
    found = []
    for rule in app.url_map.iter_rules():
        declared = app.view_functions[rule.endpoint]
        if isinstance(declared, Operation):
            suffix = rule.rule.removeprefix(declared.path).removeprefix(".")
            found.append((PART.sub(r"{\2}", rule.rule), suffix, rule, declared))
    return sorted(found, key=lambda each: each[0])


def document(app: Flask, examples: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all that an app declares; made within its context.

    `examples` are parts of addresses that there are here, by name.
    """
    declared = operations(app)
    models = {model for *_, each in declared for model in each.answers.values() if not isinstance(model, tuple)}
    models |= {each.takes for *_, each in declared if each.takes} | {ProblemDocument}
    models |= {form.said for *_, each in declared for form in each.forms if form.said}
    named: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in sorted(models, key=lambda model: (model.__name__, model.__module__))
    ]
    found, schemas = models_json_schema(named, ref_template=REFERENCE, schema_generator=_Schemas)
    places: dict[Any, JsonSchemaValue] = {model: place for (model, _), place in found.items()}
    paths: dict[str, dict[str, Any]] = {}
    for address, suffix, rule, each in declared:
        entry = _Entry(rule, suffix, each, places, examples)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(address, {})[method.lower()] = entry.written()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vigie", "version": __version__, "summary": SUMMARY, "license": LICENCE},
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


@dataclass(frozen=True)
class _Entry:
    """One operation at one address; `places` says where the schema of each model stands."""

    rule: Rule
    suffix: str
    operation: Operation
    places: Mapping[Any, JsonSchemaValue]
    examples: Mapping[str, str]

    def written(self) -> dict[str, Any]:
        """As OpenAPI has it."""
        each = self.operation
        entry: dict[str, Any] = {
            "operationId": _id(self.rule.endpoint, self.suffix),
            "summary": each.summary,
            "tags": [self.rule.endpoint.split(".")[0]],
            "parameters": [*self._path(), *_query_parameters(each)],
            "responses": self._answers() | self._problems(),
        }
        if each.takes:
            entry["requestBody"] = {"required": True, "content": {JSON: {"schema": self.places[each.takes]}}}
        return entry

    def _path(self) -> Iterator[dict[str, Any]]:
        for converter, name in PART.findall(self.rule.rule):
            schema: dict[str, Any] = {"type": "string"}
            if converter.startswith("int"):
                schema = {"type": "integer", "minimum": 0, "maximum": GREATEST}
            elif name == "iso3":
                schema["pattern"] = ISO3
            example = {"example": self.examples[name]} if name in self.examples else {}
            yield {"name": name, "in": "path", "required": True, "schema": schema, **example}

    def _answers(self) -> dict[str, Any]:
        """The good answers. A 200 is offered in all forms at its own address, and in one at that form's."""
        answers: dict[str, Any] = {}
        for status, said in self.operation.answers.items():
            content: dict[str, Any] = {}
            if not self.suffix or status != HTTPStatus.OK:
                content |= (
                    {media: {} for media in said} if isinstance(said, tuple) else {JSON: {"schema": self.places[said]}}
                )
            if status == HTTPStatus.OK:
                wanted = [form for form in self.operation.forms if self.suffix in ("", form.suffix)]
                text = {"type": "string"}
                content |= {f.media: {"schema": self.places[f.said] if f.said else text} for f in wanted}
            answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
        if self.operation.leads_to and not self.suffix:
            next(iter(answers.values()))["links"] = dict(self._links())
        if HTTPStatus.OK in self.operation.answers:
            answers["304"] = {"description": "Nothing has changed since the answer that If-None-Match names"}
        return answers

    def _links(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for endpoint, needs in self.operation.leads_to.items():
            parameters = {name: f"$response.body#{place}" for name, place in needs.items()}
            yield _id(endpoint), {"operationId": _id(endpoint), "parameters": parameters}

    def _problems(self) -> dict[str, Any]:
        """Everything that can be wrong, by status, with the kinds that it may be."""
        names = (*ANYWHERE, *self.operation.problems, *(("bad-body",) if self.operation.takes else ()))
        kinds = [KINDS[name] for name in dict.fromkeys(names)]
        plain = {HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
        if self.operation.takes:
            plain.add(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        statuses = sorted({*plain, *(kind.status for kind in kinds)})
        return {
            str(int(status)): {
                "description": "; ".join(f"{kind.title} ({kind.name})" for kind in kinds if kind.status == status)
                or HTTPStatus(status).phrase,
                "content": {PROBLEM: {"schema": self.places[ProblemDocument]}},
            }
            for status in statuses
        }


def _id(endpoint: str, suffix: str = "") -> str:
    return "_".join((*endpoint.split("."), suffix)).strip("_")


def _query_parameters(each: Operation) -> Iterator[dict[str, Any]]:
    """The query as parameters. None of them is null: it is there or it is not."""
    if each.asks is None:
        return
    asked = each.asks.model_json_schema(schema_generator=_Schemas)
    for name, schema in asked["properties"].items():
        for choice in schema.pop("anyOf", ()):
            schema |= choice if choice != {"type": "null"} else {}
        parameter = {"name": name, "in": "query", "required": name in asked.get("required", ())}
        if text := schema.pop("description", None):
            parameter["description"] = text
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter | {"schema": schema}
