"""How long lists are read: page by page, newest first, each page with the address of the next. Cursors are opaque."""

from typing import Annotated, Any
from urllib.parse import urlencode

from flask import request
from pydantic import Field

from service.api.openapi import WHOLE, Asked

USUAL, MOST = 100, 1000

Limit = Annotated[int, Field(ge=1, le=MOST, description=f"how many at most; {USUAL} unless asked otherwise"), WHOLE]


class Paged(Asked):
    """A page of a list whose entries have numbers."""

    limit: Limit = USUAL
    cursor: Annotated[str, Field(pattern="^[0-9]{1,9}$", description="from the address under next")] | None = None

    @property
    def before(self) -> int:
        """The page holds what is numbered below this."""
        return 2**31 - 1 if self.cursor is None else int(self.cursor)


def page(rows: list[Any], limit: int) -> tuple[list[Any], Any | None]:
    """The page of `limit + 1` rows that were read, and its last row if there is more behind it."""
    return (rows[:limit], rows[limit - 1]) if len(rows) > limit else (rows, None)


def address(cursor: str | None) -> str | None:
    """Where the next page stands: the same question with another cursor; None where this is the last."""
    if cursor is None:
        return None
    return f"{request.path}?{urlencode({**request.args.to_dict(), 'cursor': cursor})}"
