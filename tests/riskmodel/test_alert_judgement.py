"""What followed alerts equals a naive loop over deaths, and records count it."""

import math

import numpy as np
import pytest
from alert_histories import origin_of, rule
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.alerting.judgement import Announcement, DeathsByMonth, announcement_of, judge, outcomes, record_of
from riskmodel.months import month, span

MONTHS = span(month("2000-01"), month("2007-12"))


def naive_lead(announcement: Announcement, row: list[float], at: int) -> float | None:
    """Months until the event; 0 if it did not happen; None where that is unknown."""
    after = row[at + 1 : at + 1 + announcement.months]
    if len(after) < announcement.months:
        return None
    if announcement.event == "deaths":
        return None if math.isnan(after[-1]) else announcement.months * (after[-1] >= announcement.deaths)
    if any(map(math.isnan, after)):
        return None
    if announcement.event == "onset":
        return next((lead for lead, deaths in enumerate(after, start=1) if deaths >= 25), 0)
    leads = []
    for start in range(at, at + announcement.months - 2):
        recent = row[start - 2 : start + 1] if start >= 2 else [math.nan]
        if any(map(math.isnan, recent)):
            return None
        needed, total = max(25, 2 * sum(recent)), 0.0
        for step in range(1, 4):
            total += row[start + step]
            if total >= needed:
                leads.append(start - at + step)
                break
    return min(leads, default=0)


announcements = st.sampled_from(
    [
        Announcement("escalation", 3),
        Announcement("escalation", 6, seen=True),
        Announcement("escalation", 12, seen=True),
        Announcement("onset", 12),
        Announcement("deaths", 5, 100),
    ]
)
tables = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 3.0, 24.0, 26.0, 60.0, 130.0, math.nan]), min_size=30, max_size=30),
    min_size=1,
    max_size=3,
)


@given(announcements, tables)
def test_what_followed_equals_a_naive_loop(announcement: Announcement, table: list[list[float]]) -> None:
    found = outcomes(announcement, np.array(table))
    for row, deaths in enumerate(table):
        for at in range(30):
            expected = naive_lead(announcement, deaths, at)
            happened, lead = found.happened[row, at], found.lead[row, at]
            assert np.isnan(happened) == (expected is None), (row, at)
            assert np.nan_to_num(lead) == (expected or 0), (row, at)
            assert np.nan_to_num(happened) == bool(expected), (row, at)


def one_country(values: dict[str, float], last: str = "2007-12") -> DeathsByMonth:
    table = np.zeros((1, MONTHS.size))
    for text, deaths in values.items():
        table[0, int((month(text) - MONTHS[0]).astype(int))] = deaths
    table[0, month(last) < MONTHS] = np.nan
    return DeathsByMonth(("MLI",), MONTHS, table)


def all_read(deaths: DeathsByMonth, first: str = "2000-01") -> np.ndarray:
    return np.broadcast_to(deaths.months >= month(first), deaths.values.shape) & ~np.isnan(deaths.values)


def test_alerts_are_hits_false_alarms_or_too_early_and_events_without_an_alert_are_misses() -> None:
    deaths = one_country({"2002-06": 40, "2004-06": 40, "2006-02": 3}, last="2006-06")
    alerts = [("MLI", "2002-04"), ("MLI", "2003-01"), ("MLI", "2006-04")]
    judged = judge(Announcement("escalation", 3), deaths, alerts, all_read(deaths, "2002-01"))
    assert [(alert.origin, alert.result, alert.lead) for alert in judged.alerts] == [
        ("2002-04", "hit", 2),
        ("2003-01", "false_alarm", None),
        ("2006-04", "too_early", None),
    ]
    assert judged.alerts[0].deaths == (0, 40, 0)
    assert judged.alerts[2].deaths == (0, 0, None)
    assert [(each.first, each.last, each.announced) for each in judged.episodes] == [
        ("2002-03", "2002-05", True),
        ("2004-03", "2004-05", False),
    ]
    record = record_of(judged)
    assert (record.first_month, record.last_month) == ("2002-01", "2006-06")
    assert (record.alerts, record.hits, record.false_alarms, record.too_early, record.misses) == (3, 1, 1, 1, 1)
    assert (record.precision, record.recall, record.false_alarms_per_hit) == (0.5, 0.5, 1.0)
    assert record.median_lead_months == 2
    assert record.alerts_per_country_year == pytest.approx(3 / 4.5, abs=1e-4)
    assert record.base_rate == pytest.approx(6 / 51, abs=1e-4)  # the last three origins are not known yet
    assert record.reason == "too_few_cases"


def test_unknown_deaths_make_the_result_unknown_and_not_a_false_alarm() -> None:
    deaths = one_country({"2003-02": math.nan})
    judged = judge(
        Announcement("onset", 12), deaths, [("MLI", "2002-05"), ("NER", "2002-05")], all_read(deaths, "2002-01")
    )
    assert [(each.result, each.reason) for each in judged.alerts] == [("unknown", "value_unknown")] * 2


def test_an_onset_is_missed_only_in_a_quiet_country() -> None:
    deaths = one_country({"2001-01": 30, "2001-12": 30, "2007-06": 30})
    judged = judge(Announcement("onset", 12), deaths, [], all_read(deaths))
    assert [(each.first, each.last, each.announced) for each in judged.episodes] == [("2006-12", "2006-12", False)]
    assert record_of(judged).base_rate == 1.0  # the only origin that is quiet and whose year is over


def test_a_record_has_a_reason_below_five_judged_alerts_and_none_from_five_on() -> None:
    deaths = one_country({})
    for number, reason in ((4, "too_few_cases"), (5, None)):
        alerts = [("MLI", origin_of(12 + place)) for place in range(number)]
        record = record_of(judge(Announcement("escalation", 3), deaths, alerts, all_read(deaths)))
        assert (record.false_alarms, record.reason) == (number, reason)


def test_rules_announce_what_they_forecast_and_notices_announce_nothing() -> None:
    def announced(metric: str, fire_at: object = 0.5) -> Announcement | None:
        return announcement_of(rule(metric=metric, fire_at=fire_at, clear_at=fire_at))

    assert announced("escalation_probability") == Announcement("escalation", 3)
    assert announced("onset_probability") == Announcement("onset", 12)
    assert announced("probability_100:4") == Announcement("deaths", 4, 100)
    assert announced("few_reports") is None
    assert announced("data_age_days") is None
    for metric, fire_at in (("risk_score", 70), ("band", "high"), ("signal:capital", 1), ("neighbours_rising", 2)):
        assert announced(metric, fire_at) == Announcement("escalation", 6, seen=True)
