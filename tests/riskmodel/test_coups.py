"""The list of coups: every row is readable, cited and in order; dates that other lists have wrong."""

import numpy as np
import pytest

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.sources.coups import Coup, coups, parse_coup

ROW = {"iso3": "MLI", "date": "2020-08-18", "outcome": "successful", "event": "An event", "source": "A source"}


def test_each_row_names_a_country_of_the_default_region_a_day_an_event_and_a_source() -> None:
    members = geography.region("MLI").members
    for coup in coups():
        assert coup.iso3 in members
        assert np.datetime64("1960-01-01") <= coup.date < np.datetime64("2026-01-01")
        assert coup.event
        assert "doi:10." in coup.source or "http" in coup.source


def test_coups_are_in_order_and_none_is_there_twice() -> None:
    order = [(coup.date, coup.iso3) for coup in coups()]
    assert order == sorted(set(order))


@pytest.mark.parametrize(
    ("iso3", "day", "successful"),
    [
        ("NER", "2023-07-26", True),
        ("NER", "2021-03-31", False),
        ("BFA", "2022-01-24", True),
        ("BFA", "2022-09-30", True),
        ("BFA", "2015-09-16", False),
        ("MLI", "2020-08-18", True),
        ("MLI", "2021-05-24", True),
        ("GIN", "2021-09-05", True),
    ],
)
def test_the_recent_coups_have_their_days(iso3: str, day: str, successful: bool) -> None:
    assert [coup.successful for coup in coups() if (coup.iso3, str(coup.date)) == (iso3, day)] == [successful]


def test_nigers_coup_is_in_july_2023() -> None:
    assert [str(coup.month) for coup in coups() if coup.iso3 == "NER" and str(coup.date)[:4] == "2023"] == ["2023-07"]


def test_a_date_can_be_a_month() -> None:
    coup = parse_coup(ROW | {"date": "1978-02", "outcome": "failed"})
    assert coup == Coup("MLI", np.datetime64("1978-02", "M"), False, "An event", "A source")
    assert coup.month == np.datetime64("1978-02", "M")


@pytest.mark.parametrize("wrong", [{"date": "2020"}, {"date": "2020-13-01"}, {"date": "2023-02-30"}, {"outcome": "2"}])
def test_an_unreadable_row_is_bad_input_that_names_it(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=r"coups\.csv"):
        parse_coup(ROW | wrong)
