"""Windows: which month is the last one seen, and which are judged."""

import numpy as np
import pytest

from training.windows import challenge, challenges, held_out


def test_a_challenge_window_sees_october_and_judges_the_calendar_year() -> None:
    window = challenge(2018)
    assert str(window.origin) == "2017-10"
    assert [str(month) for month in window.months] == [f"2018-{month:02}" for month in range(1, 13)]


def test_years_as_written() -> None:
    assert [window.name for window in challenges("2018:2020")] == ["2018", "2019", "2020"]
    assert [window.name for window in challenges("2020")] == ["2020"]


@pytest.mark.parametrize("text", ["", "2018-2020", "2020:2018", "18", "2018:", "2018:2019:2020"])
def test_what_is_not_a_span_of_years_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"year"):
        challenges(text)


def test_the_held_out_window_ends_at_the_origin() -> None:
    window = held_out(np.datetime64("2022-12", "M"))
    assert str(window.origin) == "2021-10"
    assert (str(window.months[0]), str(window.months[-1])) == ("2022-01", "2022-12")
    assert window.name == "2022-01..2022-12"
