"""The reference tables that ship in `data/`, read from wherever the package is installed."""

import csv
from functools import cache
from importlib.resources import files


def text(name: str) -> str:
    """The content of one shipped table."""
    return files("vigie_data").joinpath(name).read_text(encoding="utf-8")


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of one shipped CSV table, each a dict of strings by column."""
    return tuple(csv.DictReader(text(name).splitlines()))
