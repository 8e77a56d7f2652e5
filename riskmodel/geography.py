"""Countries by ISO alpha-3 (number, names, capital, neighbours) and regions: a focal country with its neighbours.

Names come from pycountry and CLDR (Babel); numbers, capitals and neighbours from `data/countries.csv`, which cites its
sources. Country numbers are Gleditsch & Ward's (1999, doi:10.1080/03050629908434958) as UCDP uses them.
"""

from dataclasses import dataclass
from functools import cache

import pycountry
from babel import Locale

from riskmodel import reference
from riskmodel.errors import BadInput


@dataclass(frozen=True)
class Country:
    """One country. `latitude` and `longitude` [degrees, WGS 84] are its capital's; `fips` is its FIPS 10-4 code."""

    iso3: str
    gw: tuple[int, ...]
    fips: str
    continent: str
    capital: str
    latitude: float
    longitude: float
    neighbours: tuple[str, ...]

    def name(self, language: str = "en") -> str:
        """The country's name in a language that CLDR has ("en", "fr", …)."""
        if (known := pycountry.countries.get(alpha_3=self.iso3)) is None:  # Kosovo has no ISO 3166-1 code
            code = {"XKX": "XK"}[self.iso3]
        else:
            code = known.alpha_2
        return str(_locale(language).territories[code])


@dataclass(frozen=True)
class Region:
    """A focal country and its neighbours by land: the focal country first, then by English name."""

    focal: str
    members: tuple[str, ...]


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language)


@cache
def countries() -> dict[str, Country]:
    """All countries by ISO alpha-3."""
    return {
        row["iso3"]: Country(
            iso3=row["iso3"],
            gw=tuple(int(number) for number in row["gw"].split()),
            fips=row["fips"],
            continent=row["continent"],
            capital=row["capital"],
            latitude=float(row["latitude"]),
            longitude=float(row["longitude"]),
            neighbours=tuple(row["neighbours"].split()),
        )
        for row in reference.rows("countries.csv")
    }


@cache
def iso3_by_gw() -> dict[int, str]:
    """ISO alpha-3 by Gleditsch-Ward number, former numbers included."""
    return {number: country.iso3 for country in countries().values() for number in country.gw}


@cache
def iso3_by_fips() -> dict[str, str]:
    """ISO alpha-3 by FIPS 10-4 code, in which GDELT writes countries."""
    return {country.fips: country.iso3 for country in countries().values()}


def country(iso3: str) -> Country:
    """One country by ISO alpha-3. Raises BadInput if there is none."""
    try:
        return countries()[iso3]
    except KeyError:
        raise BadInput(f"{iso3!r} is not the ISO alpha-3 code of a country that Vigie knows") from None


def region(focal: str) -> Region:
    """The region around a country. Raises BadInput for an unknown code."""
    return Region(focal, (focal, *sorted(country(focal).neighbours, key=lambda iso3: country(iso3).name())))


def continent(name: str) -> tuple[str, ...]:
    """ISO alpha-3 of all countries of a continent ("Africa", …)."""
    return tuple(sorted(c.iso3 for c in countries().values() if c.continent == name))
