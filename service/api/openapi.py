"""Makes the OpenAPI 3.1 document of an application from the endpoints that it declares."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from werkzeug.routing import Rule

from riskmodel import __version__
from service.api.endpoints import CSV, ISO3_PATTERN, JSON, MAX_NUMBER, Content, Operation
from service.api.shared_schemas import ProblemDocument
from service.drawing.language import LOCALES
from service.http.gate import is_public
from service.http.problems import KINDS

PROBLEM_MEDIA_TYPE = "application/problem+json"

API_SUMMARY = "Early warning of political violence: calibrated risk by country, with its uncertainty and its sources."
LICENCE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

PATH_PART = re.compile(r"<(?:([^<>]+):)?(\w+)>")
"""A part of a Flask rule: `<iso3>` or `<int:number>`."""

GATE_PROBLEMS = (
    *("key-needed", "key-refused", "key-cannot-write", "too-many-requests"),
    *("unreadable-request", "large-request", "long-address", "unknown-host", "busy"),
)
COMMON_PROBLEMS = (*GATE_PROBLEMS, "bad-query", "unreadable-data", "unreadable-store")
"""Problems that every endpoint may return, besides HTTP's own 404 and 500."""

SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of the scope read, ack or write. A POST or DELETE needs the scope write; for "
        "acknowledgements and silences, ack is enough.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "An API key as the password, with any user name. It reads and never writes.",
    },
}
READ_SECURITY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"basic": []}]
"""Reading needs a key only where the operator wants one, so no key is a choice as well."""
WRITE_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]


class _SchemaGenerator(GenerateJsonSchema):
    """Schemas without a title for each field, which would repeat its name, and without defaults of responses."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False."""
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema without its default."""
        return self.generate_inner(schema["schema"])


def operations(app: Flask) -> list[tuple[str, str, Rule, Operation]]:
    """Return all declared endpoints: address (`/v1/scores/{iso3}`), suffix of its format or "", rule, operation."""
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if isinstance(view, Operation):
            suffix = rule.rule.removeprefix(view.path).removeprefix(".")
            found.append((PATH_PART.sub(r"{\2}", rule.rule), suffix, rule, view))
    return sorted(found, key=lambda each: each[0])


def document(app: Flask, examples: Mapping[str, str], server: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an application. Call it within the application's context.

    `examples` are values for parts of addresses, by name. `server` is the address that paths follow.
    """
    declared = operations(app)
    refs, schemas = _schemas(operation for *_, operation in declared)
    paths: dict[str, dict[str, Any]] = {}
    for address, suffix, rule, operation in declared:
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            entry = _OperationEntry(rule, method, suffix, operation, refs, examples)
            paths.setdefault(address, {})[method.lower()] = entry.as_json()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vigie", "version": __version__, "summary": API_SUMMARY, "license": LICENCE},
        "servers": [{"url": server or "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SECURITY_SCHEMES},
    }


def _schemas(declared: Iterator[Operation]) -> tuple[dict[type[BaseModel], JsonSchemaValue], dict[str, Any]]:
    """Return a reference to the schema of each model, and all schemas by name."""
    models: set[type[BaseModel]] = {ProblemDocument}
    for operation in declared:
        models |= {content for content in operation.responses.values() if not isinstance(content, tuple)}
        models |= {operation.body} if operation.body else set()
        models |= {each.schema for each in operation.formats if each.schema}
    inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in sorted(models, key=lambda model: model.__name__)
    ]
    template = "#/components/schemas/{model}"
    found, definitions = models_json_schema(inputs, ref_template=template, schema_generator=_SchemaGenerator)
    return {model: ref for (model, _), ref in found.items()}, definitions["$defs"]  # type: ignore[misc]


@dataclass(frozen=True)
class _OperationEntry:
    """One operation at one address. `refs` has a reference to the schema of each model."""

    rule: Rule
    method: str
    suffix: str
    operation: Operation
    refs: Mapping[Any, JsonSchemaValue]
    examples: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the OpenAPI operation object."""
        entry: dict[str, Any] = {
            "operationId": _operation_id(self.rule.endpoint, self.suffix),
            "summary": self.operation.summary,
            "tags": [self.rule.endpoint.split(".")[0]],
            "parameters": [
                *self._path_parameters(),
                *_query_parameters(self.operation),
                *self._spreadsheet_parameters(),
            ],
            "responses": self._responses() | self._problems(),
            "security": self._security(),
        }
        if self.operation.body:
            content = {JSON: {"schema": self.refs[self.operation.body]}}
            entry["requestBody"] = {"required": True, "content": content}
        return entry

    def _security(self) -> list[dict[str, list[str]]]:
        if self.method == "POST":
            return WRITE_SECURITY
        return [] if is_public(self.rule.rule) else READ_SECURITY

    def _path_parameters(self) -> Iterator[dict[str, Any]]:
        for converter, name in PATH_PART.findall(self.rule.rule):
            schema: dict[str, Any] = {"type": "string"}
            if converter.startswith("int"):
                schema = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
            elif name == "iso3":
                schema["pattern"] = ISO3_PATTERN
            example = {"example": self.examples[name]} if name in self.examples else {}
            yield {"name": name, "in": "path", "required": True, "schema": schema, **example}

    def _spreadsheet_parameters(self) -> Iterator[dict[str, Any]]:
        chosen = next((each for each in self.operation.formats if each.suffix == self.suffix), None)
        if self.operation.media_type(chosen) != CSV:
            return
        for name, allowed, description in (
            (
                "excel",
                ["1", *LOCALES],
                "the language of a spreadsheet; 1: that of lang or Accept-Language",
            ),
            ("lang", [*LOCALES], "the language of the spreadsheet"),
        ):
            schema = {"type": "string", "enum": allowed}
            yield {"name": name, "in": "query", "required": False, "description": description, "schema": schema}

    def _responses(self) -> dict[str, Any]:
        """Return the successful responses. The plain address has every format; the address of a format has only it."""
        responses: dict[str, Any] = {}
        for status, content in self.operation.responses.items():
            media: dict[str, Any] = {}
            if not self.suffix or status != HTTPStatus.OK:
                media |= self._media(content)
            if status == HTTPStatus.OK:
                for each in self.operation.formats:
                    if self.suffix in ("", each.suffix):
                        schema = self.refs[each.schema] if each.schema else {"type": "string"}
                        media[each.media_type] = {"schema": schema}
            responses[str(int(status))] = {"description": HTTPStatus(status).phrase, "content": media}
        if self.operation.links and not self.suffix:
            next(iter(responses.values()))["links"] = dict(self._links())
        if HTTPStatus.OK in self.operation.responses:
            responses["304"] = {"description": "Nothing has changed since the response that If-None-Match names"}
        return responses

    def _media(self, content: Content) -> dict[str, Any]:
        if isinstance(content, tuple):
            return {media_type: {"schema": _text_schema(media_type)} for media_type in content}
        return {JSON: {"schema": self.refs[content]}}

    def _links(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for endpoint, values in self.operation.links.items():
            parameters = {name: f"$response.body#{pointer}" for name, pointer in values.items()}
            yield _operation_id(endpoint), {"operationId": _operation_id(endpoint), "parameters": parameters}

    def _problems(self) -> dict[str, Any]:
        """Return the problems that may occur, by status, with their kinds."""
        names = [*COMMON_PROBLEMS, *self.operation.problems, *(("bad-body",) if self.operation.body else ())]
        if self.operation.formats and not self.suffix:
            names.append("not-acceptable")
        kinds = [KINDS[name] for name in dict.fromkeys(names)]
        plain = {HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
        if self.operation.body:
            plain.add(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        statuses = sorted({*plain, *(kind.status for kind in kinds)})
        return {
            str(int(status)): {
                "description": "; ".join(f"{kind.title} ({kind.name})" for kind in kinds if kind.status == status)
                or HTTPStatus(status).phrase,
                "content": {PROBLEM_MEDIA_TYPE: {"schema": self.refs[ProblemDocument]}},
            }
            for status in statuses
        }


def _text_schema(media_type: str) -> dict[str, str]:
    """Return the schema of a response that is not JSON: a text, or bytes."""
    is_text = media_type.startswith("text/") or media_type.endswith(("+xml", "-text"))
    return {"type": "string"} if is_text else {"type": "string", "format": "binary"}


def _operation_id(endpoint: str, suffix: str = "") -> str:
    return "_".join((*endpoint.split("."), suffix)).strip("_")


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield the query parameters. A parameter is absent rather than null, so null is not part of its schema."""
    if operation.query is None:
        return
    model = operation.query.model_json_schema(schema_generator=_SchemaGenerator)
    for name, schema in model["properties"].items():
        for choice in schema.pop("anyOf", ()):
            schema |= choice if choice != {"type": "null"} else {}
        parameter = {"name": name, "in": "query", "required": name in model.get("required", ())}
        if description := schema.pop("description", None):
            parameter["description"] = description
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter | {"schema": schema}
