"""Windows: the last month of the data, and the months that are scored."""

import numpy as np
import pytest

from training.windows import challenge_window, challenge_windows, held_out_window, recent_challenge_windows


def test_a_challenge_window_uses_data_to_october_and_scores_the_calendar_year() -> None:
    window = challenge_window(2018)
    assert str(window.origin) == "2017-10"
    assert [str(month) for month in window.target_months] == [f"2018-{month:02}" for month in range(1, 13)]


def test_a_span_of_years_includes_both_ends() -> None:
    assert [window.name for window in challenge_windows("2018:2020")] == ["2018", "2019", "2020"]
    assert [window.name for window in challenge_windows("2020")] == ["2020"]


@pytest.mark.parametrize("text", ["", "2018-2020", "2020:2018", "18", "2018:", "2018:2019:2020"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"year"):
        challenge_windows(text)


def test_the_held_out_window_ends_at_the_origin() -> None:
    window = held_out_window(np.datetime64("2022-12", "M"))
    assert str(window.origin) == "2021-10"
    assert (str(window.target_months[0]), str(window.target_months[-1])) == ("2022-01", "2022-12")
    assert window.name == "2022-01..2022-12"


def test_recent_windows_are_whole_years_within_the_data() -> None:
    first, last = np.datetime64("2015-11", "M"), np.datetime64("2020-11", "M")
    assert [window.name for window in recent_challenge_windows(first, last, 3)] == ["2017", "2018", "2019"]
    assert [window.name for window in recent_challenge_windows(first, last + 1, 9)] == ["2017", "2018", "2019", "2020"]
