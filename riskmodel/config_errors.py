"""Errors in configuration: on which line of a TOML file a value breaks a rule, and which rule."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys that lead to a value, such as ("limits", "body_bytes"), or ("rule", 0, "fire_at") in an array of tables."""

HEADER = re.compile(r"^\s*\[(\[?)([^\[\]]+)\]\]?\s*(?:#.*)?$")
SUBJECT = re.compile(r"^(?:Input|String|List|Tuple|Dictionary|URL) should ")
KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def rule_broken(error: Mapping[str, Any], known: Iterable[str] = ()) -> str:
    """Return the rule that a value breaks, from an error of pydantic. `known` lists the keys that are allowed here."""
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        similar = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        return f"unknown key (did you mean {similar[0]}?)" if similar else "unknown key"
    if error["type"] == "union_tag_not_found":
        return "type is missing"
    if error["type"] == "union_tag_invalid":
        return f"type must be one of {error['ctx']['expected_tags']}"
    return SUBJECT.sub("must ", error["msg"].removeprefix("Value error, "))


def syntax_error(failure: tomllib.TOMLDecodeError, text: str) -> str:
    """Return why a text is not TOML, with a line: tomllib gives none for an error at the end."""
    return str(failure).replace("at end of document", f"at the end, line {text.count(chr(10)) + 1}")


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Return the line on which a TOML text sets a key, or else the table that it belongs to; None if there is none."""
    lines = dict(_keys(text))
    for length in range(len(path), 0, -1):
        if (line := lines.get(tuple(path[:length]))) is not None:
            return line
    return None


def _keys(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Yield each key path of a TOML text with its line. The text is only scanned, so it can be invalid."""
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = _split(header[2])
            if header[1]:
                if table not in counts:
                    yield table, number
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, number
        elif key := KEY.match(line):
            yield (*table, *_split(key[1])), number


def _split(dotted: str) -> KeyPath:
    """Split a key such as `bands."very high"` into its parts."""
    try:
        parsed: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return (dotted,)
    parts: list[str | int] = []
    while isinstance(parsed, dict):
        ((part, parsed),) = parsed.items()
        parts.append(part)
    return tuple(parts)
