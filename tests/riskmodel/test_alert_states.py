"""The life-cycle of an alert: by examples and by properties."""

import pytest
from alert_histories import drawn_rules, histories, origin_of, rule
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import (
    ACTIVE,
    CORRECTED,
    ENDED,
    EXPIRED,
    EXPIRES_AFTER,
    FIRING,
    OK,
    PENDING,
    RESOLVED,
    AlertState,
    next_state,
)
from riskmodel.months import month


# Each reading is "month of the origin:value"; the states below are those that the readings lead to, one by one.
@pytest.mark.parametrize(
    ("for_origins", "readings", "states"),
    [
        (1, "1:80 1:80 2:66 3:64 3:64 4:64", "firing firing firing resolved resolved ok"),
        (2, "1:80 1:80 2:80 3:69 4:10", "pending pending firing firing resolved"),
        (2, "1:80 1:60 2:80 3:80", "pending ok pending firing"),
        (2, "1:80 2:69 3:80", "pending ok pending"),
        (2, "1:80 2:-- 3:80", "pending pending firing"),
        (3, "1:80 2:80 1:80 2:80 3:80", "pending pending pending pending firing"),
        (1, "1:80 2:-- 3:10 3:80", "firing firing resolved firing"),
        (2, "1:80 2:80 3:10 3:80 4:80", "pending firing resolved pending firing"),
        (1, "1:-- 2:70", "ok firing"),
        (1, "1:70 2:65 3:64.9", "firing firing resolved"),
        # A revision at the origin with which the alert began takes it back.
        (1, "1:70 1:64 1:64 1:70 2:64", "firing corrected corrected firing resolved"),
        (1, "1:70 2:70 1:64 2:64", "firing firing corrected ok"),
        (2, "1:80 2:80 2:10 3:10", "pending firing corrected ok"),
        # An alert whose value is unknown for three origins expires.
        (1, "1:70 2:-- 3:-- 4:-- 4:70 5:70", "firing firing firing expired firing firing"),
        (2, "1:70 2:-- 3:-- 4:-- 5:70", "pending pending pending ok pending"),
    ],
)
def test_readings_lead_to_states(for_origins: int, readings: str, states: str) -> None:
    assert states_after(rule(**{"for": for_origins}), readings) == states.split()


def states_after(rule_: Rule, readings: str) -> list[str]:
    alert, found = AlertState(), []
    for reading in readings.split():
        number, value = reading.split(":")
        alert = next_state(alert, rule_, None if value == "--" else float(value), f"2022-{int(number):02}")
        found.append(alert.state)
    return found


@pytest.mark.parametrize(
    ("readings", "states"),
    [
        # An alert that peaked at 80 ends in March. It fires again in June, or earlier at more than 80.
        ("1:75 2:80 3:60 4:78 5:80 6:78", "firing firing resolved ok ok firing"),
        ("1:75 2:80 3:60 3:79 4:81", "firing firing resolved resolved firing"),
        ("1:75 2:80 3:60 4:-- 5:10 6:70", "firing firing resolved resolved ok firing"),
    ],
)
def test_an_alert_fires_again_after_the_cool_down_or_at_a_worse_level(readings: str, states: str) -> None:
    assert states_after(rule(cool_down=3), readings) == states.split()


ALLOWED = {
    (OK, PENDING), (OK, FIRING), (PENDING, FIRING), (PENDING, OK),
    *((FIRING, end) for end in ENDED),
    *((end, later) for end in ENDED for later in (OK, PENDING, FIRING)),
}  # fmt: skip


@given(drawn_rules, histories())
def test_every_step_of_a_history_follows_the_rules_of_the_life_cycle(
    rule_: Rule, history: list[tuple[str, float | None]]
) -> None:
    alert = AlertState()
    reached: set[str] = set()  # origins at or above fire_at since the last known value below it
    known = fired = ""  # the newest origin with a known value since the alert began, and the one that it fired with
    for origin, value in history:
        before, alert = alert, next_state(alert, rule_, value, origin)
        if value is not None:
            reached = reached | {origin} if value >= rule_.fire_at else set()
        if value is None:
            forgotten = before.state in ACTIVE and month(origin) - month(known) >= EXPIRES_AFTER
            assert alert.state == ({FIRING: EXPIRED, PENDING: OK}[before.state] if forgotten else before.state)
            assert forgotten or alert == before, "an unknown value changes nothing"
            reached = set() if forgotten else reached
            continue
        known = max(origin, known) if before.state in ACTIVE else origin
        if before.state != alert.state:
            assert (before.state, alert.state) in ALLOWED
        if alert.state == FIRING and before.state != FIRING:
            assert len(reached) >= rule_.for_origins
            fired = origin
        if before.state == FIRING:
            end = CORRECTED if origin <= fired else RESOLVED
            assert alert.state == (FIRING if value >= rule_.clear_at else end)
        if alert.state == PENDING:
            assert 0 < alert.origins < rule_.for_origins
        assert next_state(alert, rule_, value, origin) == alert, "the same reading again changes nothing"


@given(drawn_rules, st.lists(st.none() | st.integers(0, 100), max_size=12))
def test_enough_origins_at_the_threshold_always_fire(rule_: Rule, before: list[float | None]) -> None:
    alert = AlertState()
    for number, value in enumerate([*before, *[rule_.fire_at] * (rule_.cool_down + rule_.for_origins)]):
        alert = next_state(alert, rule_, value, origin_of(number))
    assert alert.state == FIRING


@given(drawn_rules, histories())
def test_during_the_cool_down_only_a_worse_level_fires(rule_: Rule, history: list[tuple[str, float | None]]) -> None:
    alert = AlertState()
    peak, resolved = 0.0, ""
    for origin, value in history:
        before, alert = alert, next_state(alert, rule_, value, origin)
        if before.state == FIRING and alert.state in ENDED:
            resolved = origin if alert.state == RESOLVED else ""
        if alert.state == FIRING and value is not None:
            if before.state != FIRING:
                cooling = resolved and month(origin) - month(resolved) < rule_.cool_down
                assert value > peak or not cooling
                peak = value
            peak = max(peak, value)
