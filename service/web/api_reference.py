"""Turn the OpenAPI document into the API reference at `/docs`, for people to read.

This module knows the document only, and nothing of the service.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ValueType:
    """The type of a value in words; `schema` names the schema of the objects in it, if any."""

    text: str
    schema: str | None


@dataclass(frozen=True)
class Field:
    """A parameter of an operation, or a key of an object."""

    name: str
    type: ValueType
    required: bool
    description: str


@dataclass(frozen=True)
class StatusResponse:
    """The response with one status code, and its media types."""

    status: str
    description: str
    media_types: tuple[str, ...]
    schema: str | None


@dataclass(frozen=True)
class Operation:
    """One method on one path."""

    method: str
    path: str
    summary: str
    parameters: tuple[Field, ...]
    responses: tuple[StatusResponse, ...]


@dataclass(frozen=True)
class ObjectSchema:
    """One object of the API with its keys."""

    name: str
    description: str
    fields: tuple[Field, ...]


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """List all operations, sorted by path."""
    return [
        Operation(
            method.upper(),
            path,
            operation["summary"],
            tuple(
                Field(
                    parameter["name"],
                    _value_type(parameter["schema"]),
                    parameter["required"],
                    parameter.get("description", ""),
                )
                for parameter in operation["parameters"]
            ),
            tuple(_response(status, response) for status, response in operation["responses"].items()),
        )
        for path, methods in sorted(document["paths"].items())
        for method, operation in methods.items()
    ]


def object_schemas(document: Mapping[str, Any]) -> list[ObjectSchema]:
    """List all objects of the API, sorted by name."""
    return [
        ObjectSchema(
            name,
            schema.get("description", ""),
            tuple(
                Field(key, _value_type(value), key in schema.get("required", ()), value.get("description", ""))
                for key, value in schema.get("properties", {}).items()
            ),
        )
        for name, schema in sorted(document["components"]["schemas"].items())
    ]


def _response(status: str, response: Mapping[str, Any]) -> StatusResponse:
    content = response.get("content", {})
    schemas = [_value_type(media["schema"]).schema for media in content.values() if "schema" in media]
    return StatusResponse(status, response["description"], tuple(content), next(filter(None, schemas), None))


def _value_type(schema: Mapping[str, Any]) -> ValueType:
    if reference := schema.get("$ref"):
        return ValueType("object", reference.rsplit("/", 1)[-1])
    if choices := schema.get("anyOf"):
        types = [_value_type(choice) for choice in choices]
        return ValueType(" or ".join(each.text for each in types), next((t.schema for t in types if t.schema), None))
    if values := schema.get("enum"):
        return ValueType(", ".join(map(str, values)), None)
    if schema.get("type") == "array":
        item = _value_type(schema["items"])
        return ValueType(f"list of {item.text}", item.schema)
    if isinstance(value_schema := schema.get("additionalProperties"), Mapping):
        value = _value_type(value_schema)
        return ValueType(f"object, each key: {value.text}", value.schema)
    return ValueType(str(schema.get("const", schema.get("type", "anything"))), None)
