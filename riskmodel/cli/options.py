"""What can be written on the command line of any package: codes, months, spans, releases. A mistake is wrong use."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from riskmodel import geography
from riskmodel.errors import BadInput

if TYPE_CHECKING:
    from riskmodel.events.coverage import Coverage


class Written(click.ParamType[Any]):
    """A value that a function reads from text, and which it may refuse with BadInput or ValueError."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except (BadInput, ValueError) as refused:
            self.fail(str(refused), param, ctx)


def _iso3(text: str) -> str:
    return geography.country(text).iso3


def _span(text: str) -> "Coverage":
    from riskmodel.events.coverage import Coverage

    return Coverage.parse(text)


def _release(text: str) -> str:
    from riskmodel.events.releases import published

    published(text)
    return text


def _month(text: str) -> Any:
    from riskmodel.months import month

    return month(text)


def _factor(text: str) -> float:
    try:
        factor = float(text.removeprefix("x"))
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= 1000:
        raise ValueError(f"{text!r} is no factor: write x2, or x0.5; from x0 to x1000")
    return factor


ISO3, SPAN = Written("ISO3", _iso3), Written("SPAN", _span)


def _past(text: str) -> Any:
    from riskmodel.moments import parse_past_moment

    return parse_past_moment(text, datetime.now(UTC))


RELEASE, MONTH = Written("RELEASE", _release), Written("YYYY-MM", _month)
PAST = Written("DATE", _past)
FACTOR = Written("FACTOR", _factor)
