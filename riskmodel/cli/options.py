"""What commands of every package share: types of arguments, and the options `--region`, `--outcome` and `--format`.

A value that cannot be read is wrong use of the command line.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.home_settings import DEFAULT_REGION, region_of
from riskmodel.outcomes import OUTCOMES

if TYPE_CHECKING:
    from riskmodel.events.coverage import Coverage


class ParsedType(click.ParamType[Any]):
    """A type whose values a function reads from text. The function raises BadInput or ValueError for a wrong one."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (BadInput, ValueError) as wrong:
            self.fail(str(wrong), param, ctx)


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


def _past_moment(text: str) -> datetime:
    from riskmodel.moments import parse_past_moment

    return parse_past_moment(text, datetime.now(UTC))


def _factor(text: str) -> float:
    try:
        factor = float(text.removeprefix("x"))
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= 1000:
        raise ValueError(f"{text!r} is no factor: write x2, or x0.5; from x0 to x1000")
    return factor


ISO3 = ParsedType("ISO3", _iso3)
SPAN = ParsedType("SPAN", _span)
RELEASE = ParsedType("RELEASE", _release)
MONTH = ParsedType("YYYY-MM", _month)
PAST_MOMENT = ParsedType("DATE", _past_moment)
FACTOR = ParsedType("FACTOR", _factor)


def _default_region() -> str:
    return region_of(click.get_current_context().obj)


REGION_OPTION = click.option(
    "--region",
    type=ISO3,
    envvar="VIGIE_REGION",
    show_envvar=True,
    default=_default_region,
    help=f"The focal country of the region (default: `region` in the home's vigie.toml, else {DEFAULT_REGION}).",
)
"""The region is the focal country with its neighbours. The option wins, then VIGIE_REGION, then vigie.toml."""

OUTCOME_OPTION = click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    help="The deaths that are forecast: all organised violence, or state-based conflict (default: the headline).",
)
"""For commands that read a snapshot. The headline is the outcome that comes first in it."""

FORMAT_OPTION = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
