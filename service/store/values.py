"""How moments and JSON documents are stored in the database and written for readers."""

import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any, overload

import sqlalchemy as sa


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC, stored as ISO 8601 text so that every database sorts and returns it in the same way."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Document(sa.TypeDecorator[dict[str, Any]]):
    """A JSON object or list, stored as canonical text so that equal ones have equal bytes."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> dict[str, Any] | None:
        return None if value is None else json.loads(value)


def canonical(document: dict[str, Any]) -> str:
    """Return the canonical text of a JSON object, from which digests are made. Raises ValueError for NaN.

    Keys are sorted, there are no blanks, and characters outside ASCII are not escaped.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sortable_id(prefix: str) -> str:
    """Return a new id: the prefix, `_` and 32 hexadecimal digits. Ids of one prefix sort by time."""
    return f"{prefix}_{time.time_ns():016x}{secrets.token_hex(8)}"


@overload
def instant(moment: datetime) -> str: ...
@overload
def instant(moment: None) -> None: ...
def instant(moment: datetime | None) -> str | None:
    """Return a moment as ISO 8601 in UTC, to the second, ending in Z; None for None."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
