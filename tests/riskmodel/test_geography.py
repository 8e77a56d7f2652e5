"""Countries, their names, numbers and neighbours, and the regions made from them."""

import csv
from pathlib import Path

import pytest

from riskmodel import geography
from riskmodel.errors import BadInput


def test_the_default_region() -> None:
    assert geography.region("MLI").members == ("MLI", "DZA", "BFA", "CIV", "GIN", "MRT", "NER", "SEN")


def test_any_country_is_the_focus_of_a_region() -> None:
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


def test_numbers_are_those_of_the_conflict_data(shared: Path) -> None:
    with (shared / "country_codes.csv").open(encoding="utf-8") as file:
        theirs = {row["iso3"]: int(row["ucdp_country_id"]) for row in csv.DictReader(file) if row["iso3"]}
    ours = {iso3: geography.country(iso3).gw[0] for iso3 in theirs}
    assert ours == theirs
