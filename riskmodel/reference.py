"""Read the reference tables that ship in `data/` (the installed package `vigie_data`)."""

import csv
from functools import cache
from importlib.resources import files


def text(name: str) -> str:
    """Return the content of one shipped file."""
    return files("vigie_data").joinpath(name).read_text(encoding="utf-8")


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of one shipped CSV table, each a dict of strings by column."""
    return tuple(csv.DictReader(text(name).splitlines()))
