"""Countries by ISO alpha-3 (number, names, capital, neighbours), regions, borders, sites, and distances on the sphere.

A region is a focal country with its neighbours. Names come from pycountry and CLDR (Babel). Numbers, capitals and
neighbours come from `data/countries.csv`, borders from `data/borders.csv`, airports and towns from `data/sites.csv`;
`data/README.md` cites their sources. Country numbers are Gleditsch & Ward's (1999, doi:10.1080/03050629908434958) as
UCDP uses them. This module imports no pandas and no pyarrow, because the web process uses it.
"""

import contextlib
import math
from dataclasses import dataclass
from functools import cache
from io import StringIO
from typing import Any

import numpy as np
import pycountry
from babel import Locale
from numpy.typing import ArrayLike, NDArray

from riskmodel import reference
from riskmodel.errors import BadInput

EARTH_RADIUS = 6371.0088  # [km], the mean radius of the WGS 84 ellipsoid

WHOLE_REGION = "*"
"""Location code of what concerns a region as a whole."""


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
        """Return the country's name in a language that CLDR has ("en", "fr", …)."""
        if (entry := pycountry.countries.get(alpha_3=self.iso3)) is None:  # Kosovo has no ISO 3166-1 code
            code = {"XKX": "XK"}[self.iso3]
        else:
            code = entry.alpha_2
        return str(_locale(language).territories[code])

    def border(self, neighbour: str) -> NDArray[np.float64]:
        """Return points along the land border with a neighbour, about every 20 km.

        Shape (point, 2), latitude and longitude [degrees, WGS 84], read-only. There are no points if the source of
        `data/borders.csv` has no common border. Raises BadInput for a country that is no neighbour.
        """
        try:
            return borders()[self.iso3, neighbour]
        except KeyError:
            raise BadInput(f"{self.iso3} and {neighbour} do not share a land border") from None


@dataclass(frozen=True)
class Region:
    """A focal country and its neighbours by land: the focal country first, then by English name."""

    focal: str
    members: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sites:
    """Strategic sites as columns, all of shape (site,): airports and larger towns.

    `kind` is "airport" or "town"; `latitude` and `longitude` [degrees, WGS 84].
    """

    kind: NDArray[np.str_]
    iso3: NDArray[np.str_]
    name: NDArray[np.str_]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language)


@cache
def countries() -> dict[str, Country]:
    """Return all countries by ISO alpha-3."""
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
    """Return ISO alpha-3 by Gleditsch-Ward number, including former numbers."""
    return {number: country.iso3 for country in countries().values() for number in country.gw}


@cache
def ucdp_regions() -> dict[str, str]:
    """Return UCDP's region of each country by ISO alpha-3; the numbers of countries are grouped by region."""
    bounds = ((200, "Americas"), (400, "Europe"), (630, "Africa"), (700, "Middle East"), (1000, "Asia"))
    return {
        iso3: next(name for bound, name in bounds if max(country.gw) < bound)
        for iso3, country in countries().items()
        if country.gw
    }


@cache
def iso3_by_fips() -> dict[str, str]:
    """Return ISO alpha-3 by FIPS 10-4 code, which GDELT uses."""
    return {country.fips: country.iso3 for country in countries().values()}


def country(iso3: str) -> Country:
    """Return one country by ISO alpha-3. Raises BadInput for an unknown code."""
    try:
        return countries()[iso3]
    except KeyError:
        raise BadInput(f"{iso3!r} is not the ISO alpha-3 code of a country that Vigie knows") from None


def region(focal: str) -> Region:
    """Return the region around a country. Raises BadInput for an unknown code."""
    return Region(focal, (focal, *sorted(country(focal).neighbours, key=lambda iso3: country(iso3).name())))


def continent(name: str) -> tuple[str, ...]:
    """Return ISO alpha-3 of all countries of a continent ("Africa", …)."""
    return tuple(sorted(c.iso3 for c in countries().values() if c.continent == name))


@cache
def borders() -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return points along the border of each pair of neighbours, in either order; see `Country.border`."""
    iso3, neighbour, latitude, longitude = _columns("borders.csv", np.str_, np.str_, np.float64, np.float64)
    points = np.stack([latitude, longitude], axis=-1)
    starts = np.flatnonzero(np.r_[True, (iso3[1:] != iso3[:-1]) | (neighbour[1:] != neighbour[:-1])])
    lines = np.split(points, starts[1:])
    listed = dict(zip(zip(iso3[starts].tolist(), neighbour[starts].tolist(), strict=True), lines, strict=True))
    no_points = np.empty((0, 2))
    by_pair = {}
    for here, country_here in countries().items():
        for there in country_here.neighbours:
            by_pair[here, there] = listed.get((min(here, there), max(here, there)), no_points)
            by_pair[here, there].setflags(write=False)
    return by_pair


@cache
def sites() -> Sites:
    """Return airports, and towns of 50,000 inhabitants or more, of all countries; read-only columns."""
    columns = _columns("sites.csv", np.str_, np.str_, np.str_, np.float64, np.float64)
    for column in columns:
        column.setflags(write=False)
    return Sites(*columns)


@cache
def hull(iso3: str) -> NDArray[np.float64]:
    """Return the convex hull of a country's land borders, capital, airports and towns, counter-clockwise, read-only.

    Shape (corner, 2), latitude and longitude [degrees, WGS 84]. It covers more than the country where borders bend
    inwards, and can miss a strip of an empty coast. There are no corners if the hull would cross the date line, or if
    the places are too few. Raises BadInput for an unknown code.
    """
    from scipy.spatial import ConvexHull, QhullError  # its import takes a quarter of a second

    here, known = country(iso3), sites()
    places = [np.array([[here.latitude, here.longitude]]), *(here.border(there) for there in here.neighbours)]
    places.append(np.stack([known.latitude, known.longitude], axis=-1)[known.iso3 == iso3])
    points = np.concatenate(places)
    corners = np.empty((0, 2))
    if np.ptp(points[:, 1]) < 180:
        with contextlib.suppress(QhullError):  # fewer than three places, or all in a line
            corners = points[ConvexHull(points).vertices]
    corners.setflags(write=False)
    return corners


def _columns(name: str, *types: type[np.generic]) -> tuple[NDArray[Any], ...]:
    """Return the first columns of a long table, read by NumPy: a dict per row would take seconds."""
    # Texts are read as objects: NumPy cuts those off that are longer than a fixed width.
    rows = np.loadtxt(
        StringIO(reference.text(name)),
        dtype=[(str(i), object if kind is np.str_ else kind) for i, kind in enumerate(types)],
        delimiter=",",
        quotechar='"',
        comments=None,
        skiprows=1,
        usecols=range(len(types)),
    )
    return tuple(rows[str(i)].astype(kind) for i, kind in enumerate(types))


def unit_vectors(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.float64]:
    """Return places [degrees] as unit vectors from the centre of the Earth, shape (…, 3).

    The nearest by straight line are the nearest on the sphere, so a k-d tree of them has no date line and no pole.
    """
    north, east = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north) + 0 * east], axis=-1)


def chord(distance: float) -> float:
    """Return the straight distance between unit vectors at a great-circle distance [km]; at most 2 (antipodes)."""
    return 2 * math.sin(min(distance / (2 * EARTH_RADIUS), math.pi / 2))


def distance(
    latitude: ArrayLike, longitude: ArrayLike, other_latitude: ArrayLike, other_longitude: ArrayLike
) -> NDArray[np.float64]:
    """Return great-circle distances between places [degrees], broadcast [km].

    By the haversine formula, which is within 0.6 % of the distance on the ellipsoid.
    """
    north, east, other_north, other_east = _radians(latitude, longitude, other_latitude, other_longitude)
    across = np.sin((other_north - north) / 2) ** 2
    along = np.cos(north) * np.cos(other_north) * np.sin((other_east - east) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(across + along, 1))))


def bearing(
    latitude: ArrayLike, longitude: ArrayLike, other_latitude: ArrayLike, other_longitude: ArrayLike
) -> NDArray[np.float64]:
    """Return the initial bearing of the great circle from one place to another, broadcast [degrees, 0 <= b < 360].

    Clockwise from north. NaN if the two places are the same.
    """
    north, east, other_north, other_east = _radians(latitude, longitude, other_latitude, other_longitude)
    eastward = np.sin(other_east - east) * np.cos(other_north)
    northward = np.cos(north) * np.sin(other_north) - np.sin(north) * np.cos(other_north) * np.cos(other_east - east)
    turned = np.degrees(np.arctan2(eastward, northward)) % 360
    # Just west of north is 360 - 1e-15, which floats round to 360.
    return np.where((eastward == 0) & (northward == 0), np.nan, np.where(turned == 360, 0.0, turned))


def _radians(*degrees: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.radians(np.asarray(angle, dtype=np.float64)) for angle in degrees)
