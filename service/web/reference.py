"""The OpenAPI document as a person reads it: what `/docs` shows. It knows the document and nothing of the service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Typed:
    """What a value is, in words; `schema` names the description of the objects in it."""

    words: str
    schema: str | None


@dataclass(frozen=True)
class Named:
    """A parameter or a key."""

    name: str
    kind: Typed
    needed: bool
    meaning: str


@dataclass(frozen=True)
class Answer:
    """One status, with the media types it comes in."""

    status: str
    meaning: str
    media: tuple[str, ...]
    schema: str | None


@dataclass(frozen=True)
class Address:
    """One method at one address."""

    method: str
    path: str
    summary: str
    parameters: tuple[Named, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Schema:
    """What an object says."""

    name: str
    meaning: str
    keys: tuple[Named, ...]


def addresses(document: Mapping[str, Any]) -> list[Address]:
    """All addresses, in the order of the alphabet."""
    return [
        Address(
            method.upper(),
            path,
            entry["summary"],
            tuple(
                Named(each["name"], _typed(each["schema"]), each["required"], each.get("description", ""))
                for each in entry["parameters"]
            ),
            tuple(_answer(status, said) for status, said in entry["responses"].items()),
        )
        for path, methods in sorted(document["paths"].items())
        for method, entry in methods.items()
    ]


def schemas(document: Mapping[str, Any]) -> list[Schema]:
    """All objects that answers are made of, in the order of the alphabet."""
    return [
        Schema(
            name,
            schema.get("description", ""),
            tuple(
                Named(key, _typed(each), key in schema.get("required", ()), each.get("description", ""))
                for key, each in schema.get("properties", {}).items()
            ),
        )
        for name, schema in sorted(document["components"]["schemas"].items())
    ]


def _answer(status: str, said: Mapping[str, Any]) -> Answer:
    content = said.get("content", {})
    named = [_typed(each["schema"]).schema for each in content.values() if "schema" in each]
    return Answer(status, said["description"], tuple(content), next(filter(None, named), None))


def _typed(schema: Mapping[str, Any]) -> Typed:
    if place := schema.get("$ref"):
        return Typed("object", place.rsplit("/", 1)[-1])
    if choices := schema.get("anyOf"):
        kinds = [_typed(choice) for choice in choices]
        return Typed(" or ".join(kind.words for kind in kinds), next((k.schema for k in kinds if k.schema), None))
    if values := schema.get("enum"):
        return Typed(", ".join(map(str, values)), None)
    if schema.get("type") == "array":
        kind = _typed(schema["items"])
        return Typed(f"list of {kind.words}", kind.schema)
    if isinstance(inside := schema.get("additionalProperties"), Mapping):
        kind = _typed(inside)
        return Typed(f"object, each key: {kind.words}", kind.schema)
    return Typed(str(schema.get("const", schema.get("type", "anything"))), None)
