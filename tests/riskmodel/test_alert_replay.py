"""A replay gives the alerts that the states of the service give, over snapshots and hindcasts alike."""

from typing import Any

from alert_histories import drawn_rules, histories, origin_of, rule
from hypothesis import given

from riskmodel.alerting.replay import alerts_of, of_hindcast, past_scores, replay
from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import FIRING, AlertState, next_state
from riskmodel.bands import DEFAULT_BANDS


@given(drawn_rules, histories())
def test_an_alert_lasts_from_the_origin_that_fires_it_to_the_one_that_ends_it(
    drawn: Rule, history: list[tuple[str, float | None]]
) -> None:
    alerts = alerts_of(drawn, "MLI", [origin for origin, _ in history], [value for _, value in history])
    state, firing = AlertState(), []
    for origin, value in history:
        state = next_state(state, drawn, value, origin)
        firing.append(state.state == FIRING)
    started = [now and not before for now, before in zip(firing, [False, *firing], strict=False)]
    ended = [before and not now for now, before in zip(firing, [False, *firing], strict=False)]
    assert [(alert.fired_origin, alert.value) for alert in alerts] == [
        each for each, new in zip(history, started, strict=True) if new
    ]
    assert [(a.ended_origin, a.ended_value) for a in alerts if a.ended_origin is not None] == [
        each for each, over in zip(history, ended, strict=True) if over
    ]
    assert all(alert.peak >= alert.value >= drawn.fire_at for alert in alerts)


def hindcast(place: int, scores: dict[str, float | None]) -> dict[str, Any]:
    """A hindcast as rules read it: risk scores, and one signal in Mali."""
    return {
        "origin": origin_of(place),
        "countries": [
            {
                "location_code": iso3,
                "risk_score": score,
                "observed": [],
                "signals": [{"indicator": "capital_events_250km_12m", "family": "capital"}] if iso3 == "MLI" else [],
                "not_compared": [],
                "unlisted_signals": [],
                "reasons": {} if score is not None else {"risk_score": "no_history"},
            }
            for iso3, score in scores.items()
        ],
    }


FAMILIES = [{"name": "capital", "indicators": [{"name": "capital_events_250km_12m"}]}]


def documents(*scores: dict[str, float | None]) -> list[dict[str, Any]]:
    return [of_hindcast(hindcast(place, each), DEFAULT_BANDS, FAMILIES) for place, each in enumerate(scores, start=60)]


def test_a_replay_reads_hindcasts_in_the_order_of_time_and_a_change_from_the_origin_before() -> None:
    past = documents({"MLI": 40, "NER": 10}, {"MLI": 47, "NER": 30}, {"MLI": None, "NER": 12})
    changes = replay(rule(metric="change_1m", fire_at=7, clear_at=0), past_scores(past[::-1]))
    assert changes.origins == ("2005-01", "2005-02", "2005-03")
    assert [reading.reason for reading in changes.readings["MLI"]] == ["no_earlier_score", None, "no_history"]
    assert [(a.fired_origin, a.location_code, a.value, a.ended_origin) for a in changes.alerts] == [
        ("2005-02", "MLI", 7, None),
        ("2005-02", "NER", 20, "2005-03"),
    ]


def test_a_replay_reads_signals_and_keeps_to_the_countries_of_a_rule() -> None:
    past = past_scores(documents({"MLI": 40, "NER": 10}))
    found = replay(rule(metric="signal:capital_events_250km_12m", fire_at=1, clear_at=1), past)
    assert {iso3: readings[0].value for iso3, readings in found.readings.items()} == {"MLI": 1, "NER": 0}
    assert list(replay(rule(countries=["NER"]), past).readings) == ["NER"]


def test_what_a_hindcast_does_not_have_is_unknown_and_a_rule_about_the_clock_reads_nothing() -> None:
    past = past_scores(documents({"MLI": 40}))
    few = replay(rule(metric="few_reports", fire_at=1, clear_at=1), past)
    assert few.readings["MLI"][0] == (None, "hindcast")
    assert replay(rule(metric="data_age_days", fire_at=1, clear_at=1), past).readings == {}
