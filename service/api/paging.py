"""Paging of long lists, newest first. Each page has the address of the next one; cursors are opaque to clients."""

from typing import Annotated, Any
from urllib.parse import urlencode

from flask import request
from pydantic import Field

from service.api.endpoints import IN_DIGITS, MAX_NUMBER, Query
from service.http.links import link

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000

Limit = Annotated[
    int, Field(ge=1, le=MAX_LIMIT, description=f"maximum number of entries; {DEFAULT_LIMIT} by default"), IN_DIGITS
]


class PageQuery(Query):
    """A page of a list whose entries are numbered."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Annotated[str, Field(pattern="^[0-9]{1,9}$", description="taken from the address in next")] | None = None

    @property
    def before(self) -> int:
        """The page has the entries below this number."""
        return MAX_NUMBER if self.cursor is None else int(self.cursor)


def split_page(rows: list[Any], limit: int) -> tuple[list[Any], Any | None]:
    """Split off the page from `limit + 1` rows: return it, and its last row if there are more rows after it."""
    return (rows[:limit], rows[limit - 1]) if len(rows) > limit else (rows, None)


def next_address(cursor: str | None) -> str | None:
    """Return the address of the next page: the current request with another cursor; None on the last page."""
    if cursor is None:
        return None
    return link(f"{request.path}?{urlencode({**request.args.to_dict(), 'cursor': cursor})}")
