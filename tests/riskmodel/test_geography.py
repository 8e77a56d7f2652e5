"""Countries, their names, numbers and neighbours, the regions made from them, borders, sites, and the sphere."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel import geography
from riskmodel.errors import BadInput


def test_the_default_region() -> None:
    assert geography.region("MLI").members == ("MLI", "DZA", "BFA", "CIV", "GIN", "MRT", "NER", "SEN")


def test_any_country_can_be_the_focus_of_a_region() -> None:
    assert set(geography.region("NER").members) == {"NER", "BEN", "BFA", "DZA", "LBY", "MLI", "NGA", "TCD"}
    with pytest.raises(BadInput, match="'XXX'"):
        geography.region("XXX")


def test_names_in_both_languages() -> None:
    assert (geography.country("DZA").name("en"), geography.country("DZA").name("fr")) == ("Algeria", "Algérie")
    assert geography.country("XKX").name("fr") == "Kosovo"
    assert all(country.name(language) for country in geography.countries().values() for language in ("en", "fr"))


def test_neighbours_are_mutual_and_numbers_unambiguous() -> None:
    known = geography.countries()
    assert all(iso3 in known[other].neighbours for iso3, country in known.items() for other in country.neighbours)
    numbers = [number for country in known.values() for number in country.gw]
    assert len(numbers) == len(set(numbers))


def test_fifty_four_african_countries() -> None:
    assert len(geography.continent("Africa")) == 54
    assert {"MLI", "EGY", "MDG"} <= set(geography.continent("Africa"))


def test_country_numbers_agree_with_the_conflict_data(shared: Path) -> None:
    with (shared / "country_codes.csv").open(encoding="utf-8") as file:
        theirs = {row["iso3"]: int(row["ucdp_country_id"]) for row in csv.DictReader(file) if row["iso3"]}
    ours = {iso3: geography.country(iso3).gw[0] for iso3 in theirs}
    assert ours == theirs


# Karney's geodesics on WGS 84 (doi:10.1007/s00190-012-0578-z) between the capitals of countries.csv, by geographiclib.
GEODESICS = (
    ("MLI", "BFA", 703.5, 91.9),
    ("MLI", "NER", 1100.5, 83.9),
    ("MLI", "DZA", 2888.8, 20.7),
    ("MLI", "SEN", 1046.3, 283.6),
    ("CIV", "NGA", 1429.6, 79.2),
    ("FRA", "MLI", 4130.3, 196.9),
    ("USA", "MLI", 7333.2, 93.0),
    ("NZL", "CHL", 9370.9, 130.3),  # over the date line
)
WITHOUT_BORDER = {("ALB", "SRB"), ("CUB", "USA"), ("ESP", "MAR")}  # as data/README.md says

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def _capital(iso3: str) -> tuple[float, float]:
    country = geography.country(iso3)
    return country.latitude, country.longitude


@pytest.mark.parametrize(("iso3", "other", "kilometres", "degrees"), GEODESICS)
def test_distance_and_bearing_between_capitals(iso3: str, other: str, kilometres: float, degrees: float) -> None:
    assert geography.distance(*_capital(iso3), *_capital(other)) == pytest.approx(kilometres, rel=0.006)
    assert geography.bearing(*_capital(iso3), *_capital(other)) == pytest.approx(degrees, abs=0.3)


def test_distance_and_bearing_broadcast() -> None:
    around = np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 0.0)])
    degree = np.pi * geography.EARTH_RADIUS / 180
    np.testing.assert_allclose(geography.distance(0, 0, around[:, 0], around[:, 1]), [degree] * 4 + [0])
    np.testing.assert_allclose(geography.bearing(0, 0, around[:, 0], around[:, 1]), [0, 90, 180, 270, np.nan])
    assert geography.distance(around[:, :1], around[:, 1:], around[:, 0], around[:, 1]).shape == (5, 5)


@given(latitudes, longitudes, latitudes, longitudes)
def test_chord_distance_and_vectors_agree(north: float, east: float, other_north: float, other_east: float) -> None:
    kilometres = geography.distance(north, east, other_north, other_east)
    assert kilometres == pytest.approx(float(geography.distance(other_north, other_east, north, east)), abs=1e-6)
    vectors = geography.unit_vectors([north, other_north], [east, other_east])
    assert vectors.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.linalg.norm(vectors[0] - vectors[1]) == pytest.approx(geography.chord(float(kilometres)), abs=1e-7)


@given(latitudes, longitudes, latitudes, longitudes)
def test_a_bearing_is_below_360_degrees(north: float, east: float, other_north: float, other_east: float) -> None:
    turned = float(geography.bearing(north, east, other_north, other_east))
    assert 0 <= turned < 360 or (np.isnan(turned) and geography.distance(north, east, other_north, other_east) < 1e-6)
    assert geography.bearing(0, 0, 1, -1e-17) == 0


def test_a_chord_is_at_most_the_diameter() -> None:
    assert geography.chord(0) == 0
    assert geography.chord(np.pi * geography.EARTH_RADIUS) == geography.chord(50_000) == 2


def test_all_pairs_of_neighbours_have_a_border_or_are_documented_exceptions() -> None:
    borders = geography.borders()
    pairs = {(iso3, other) for iso3, country in geography.countries().items() for other in country.neighbours}
    assert borders.keys() == pairs
    assert {pair for pair, points in borders.items() if not len(points) and pair[0] < pair[1]} == WITHOUT_BORDER
    table = Counter((row["iso3"], row["neighbour"]) for row in _rows("borders.csv"))
    assert table == {pair: len(points) for pair, points in borders.items() if pair[0] < pair[1] and len(points)}


def test_a_border_is_the_same_from_both_sides() -> None:
    points = geography.country("MLI").border("BFA")
    assert points is geography.country("BFA").border("MLI")
    assert points.shape == (len(points), 2)
    assert not points.flags.writeable
    with pytest.raises(BadInput, match="MLI and TCD"):
        geography.country("MLI").border("TCD")


def test_borders_are_at_their_places() -> None:
    burkina, niger = geography.country("MLI").border("BFA"), geography.country("MLI").border("NER")
    assert ((burkina[:, 1] > _capital("MLI")[1]) & (burkina[:, 1] < _capital("NER")[1])).all()
    assert ((burkina[:, 0] > 10) & (burkina[:, 0] < 15.2)).all()
    assert niger[:, 0].min() > _capital("MLI")[0]
    # Where three countries meet, so do their three borders.
    for three in (("MLI", "BFA", "NER"), ("MLI", "DZA", "NER"), ("MLI", "MRT", "SEN"), ("CIV", "GIN", "MLI")):
        first, second, third = three
        corner = _nearest(geography.country(first).border(second), geography.country(first).border(third))
        assert corner < 30
        assert _nearest(geography.country(second).border(third), geography.country(first).border(third)) < 30


def test_points_of_a_border_are_about_20_km_apart() -> None:
    apart = []
    for (iso3, other), points in geography.borders().items():
        assert len(np.unique(points, axis=0)) == len(points), (iso3, other)
        if len(points) >= 5:
            gaps = geography.distance(points[:, :1], points[:, 1:], points[:, 0], points[:, 1])
            nearest = np.where(np.eye(len(points), dtype=bool), np.inf, gaps).min(axis=1)
            assert nearest.max() < 60, (iso3, other)
            apart.extend(nearest)
    assert 15 < np.median(apart) <= 20.5


def test_sites_by_kind() -> None:
    sites = geography.sites()
    assert set(sites.kind) == {"airport", "town"}
    assert set(sites.iso3) <= geography.countries().keys()
    for kind in ("airport", "town"):
        of_kind = sites.iso3[sites.kind == kind]
        assert all((of_kind == iso3).any() for iso3 in geography.region("MLI").members)
    assert sites.kind.shape == sites.iso3.shape == sites.name.shape == sites.latitude.shape == sites.longitude.shape
    assert (np.abs(sites.latitude) <= 90).all()
    assert (np.abs(sites.longitude) <= 180).all()


def test_no_site_is_there_twice() -> None:
    sites = geography.sites()
    places = list(zip(sites.kind.tolist(), sites.latitude.tolist(), sites.longitude.tolist(), strict=True))
    assert len(set(places)) == len(places)


def test_names_of_sites_are_not_cut_off() -> None:
    rows, sites = _rows("sites.csv"), geography.sites()
    assert sites.name.tolist() == [row["name"] for row in rows]
    assert sites.longitude.tolist() == [float(row["longitude"]) for row in rows]
    assert all((row["kind"] == "town") == bool(row["population"]) for row in rows)
    assert min(int(row["population"]) for row in rows if row["population"]) >= 50_000
    assert {row["source"] for row in rows} == {"airportsdata", "GeoNames"}


@pytest.mark.parametrize(
    ("airport", "town", "within"),
    [("Senou Airport", "Bamako", 15), ("Gao Airport", "Gao", 10), ("Ambodedjo Airport", "Mopti", 15)],
)
def test_airports_are_at_their_towns(airport: str, town: str, within: float) -> None:
    assert 2 < geography.distance(*_site("airport", airport), *_site("town", town)) < within


def test_the_airport_of_bamako_is_in_the_south() -> None:
    assert 120 < geography.bearing(*_capital("MLI"), *_site("airport", "Senou Airport")) < 200


def test_geography_imports_no_libraries_for_tables() -> None:
    code = (
        "import sys; from riskmodel import geography; geography.borders(), geography.sites();"
        "print(sorted({'pandas', 'scipy', 'sklearn', 'pyarrow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _rows(name: str) -> list[dict[str, str]]:
    with (Path(__file__).parents[2] / "data" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _nearest(points: np.ndarray, others: np.ndarray) -> float:
    return float(geography.distance(points[:, :1], points[:, 1:], others[:, 0], others[:, 1]).min())


def _site(kind: str, name: str) -> tuple[float, float]:
    sites = geography.sites()
    (position,) = np.flatnonzero((sites.kind == kind) & (sites.iso3 == "MLI") & (sites.name == name))
    return float(sites.latitude[position]), float(sites.longitude[position])


def test_the_hull_of_a_country_contains_its_capital_and_its_borders() -> None:
    corners = geography.hull("MLI")
    assert 4 < len(corners) < 60
    edges = np.roll(corners, -1, axis=0) - corners
    mali = geography.country("MLI")
    for place in [(mali.latitude, mali.longitude), *mali.border("DZA")]:
        offset = np.asarray(place) - corners
        assert (edges[:, 0] * offset[:, 1] - edges[:, 1] * offset[:, 0] >= -1e-9).all(), place


@pytest.mark.parametrize("iso3", ["RUS", "FJI"])
def test_a_country_across_the_date_line_has_no_hull(iso3: str) -> None:
    assert len(geography.hull(iso3)) == 0
