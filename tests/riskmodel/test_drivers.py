"""Drivers: contributions that sum to the difference from the average, and that are fair."""

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Self

import numpy as np
import pytest
from assessments import MONTHS, assessment_of
from histories import SAHEL, made
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.country_scores import country_scores
from riskmodel.explanation import drivers
from riskmodel.explanation.drivers import FAMILY_OF, Questioned
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.component import Supposed
from riskmodel.forecasting.pool import SMOOTHER, Pool
from riskmodel.indicators.panel import FAMILIES, Panel
from riskmodel.months import Month

INTENSITY, SPILLOVER = (
    next(i for i, f in enumerate(FAMILIES) if f.name == name) for name in ("intensity", "spillover")
)


@dataclass(frozen=True)
class Linear:
    """A model whose answer is a sum over some indicators and the last month's deaths: its Shapley values are known."""

    weights: dict[int, float]
    own: float = 0.0
    name: str = "linear"

    def fit(self, panel: Panel, origin: Month) -> Self:
        return self

    @property
    def reads(self) -> frozenset[int]:
        return frozenset(self.weights)

    def votes(self, supposed: Supposed) -> NDArray[np.float32]:
        summed = sum(weight * supposed.values[:, i].astype(float) for i, weight in self.weights.items())
        summed = summed + self.own * supposed.histories[supposed.history, -1]
        return np.stack([summed, 2 * summed], axis=-1)[None].astype(np.float32)


def test_a_model_is_shown_as_many_months_as_any_component_reads() -> None:
    assert max(part.months for part in (SMOOTHER, Conflictology())) <= drivers.MEMORY


def test_contributions_sum_to_the_difference_from_each_average(pool: Pool, assessment: Assessment) -> None:
    found = drivers.drivers(pool, assessment)
    for iso3 in SAHEL:
        for background in drivers.BACKGROUNDS:
            for target in drivers.TARGETS:
                split = found[iso3][background][target]
                assert sum(split.families) == pytest.approx(split.value - split.average, abs=1e-4)
    scores = [found[iso3]["region"]["risk_score"] for iso3 in SAHEL]
    assert {round(s.average, 4) for s in scores} == {round(float(np.mean([s.value for s in scores])), 4)}


def test_what_is_explained_is_what_is_served_up_to_the_rounding_of_draws(pool: Pool, assessment: Assessment) -> None:
    bands = {"minimal": 0}
    served = country_scores(pool.forecast(assessment.panel, assessment.origin), assessment.expected, bands)
    found = drivers.drivers(pool, assessment)
    for row in served:
        split = found[row["location_code"]]["own_year"]
        assert split["risk_score"].value == pytest.approx(row["risk_score"], abs=0.2)
        assert split["escalation_from_draws"].value == pytest.approx(100 * row["escalation_from_draws"], abs=0.6)


def test_the_average_is_that_of_the_twelve_origins_before(pool: Pool, assessment: Assessment) -> None:
    split = drivers.drivers(pool, assessment)["NER"]["own_year"]["risk_score"]
    row = SAHEL.index("NER")
    past = [assessment.panel.history(origin, 84)[row] for origin in assessment.panel.months[-13:-1]]
    asked = Questioned(pool, np.stack(past))
    answers = asked.answers(assessment.panel.values[row, -13:-1], np.arange(12))
    assert split.average == pytest.approx(float(answers[:, 0].mean()), abs=1e-4)


def test_a_sum_is_split_into_its_terms(assessment: Assessment) -> None:
    places = {f: int(np.flatnonzero(f == FAMILY_OF)[0]) for f in (INTENSITY, SPILLOVER)}
    model = Linear({places[INTENSITY]: 0.3, places[SPILLOVER]: -0.2}, own=0.01)
    split = drivers.drivers(model, assessment)["BFA"]["own_year"]["risk_score"]
    row = SAHEL.index("BFA")
    values, deaths = assessment.panel.values[row].astype(float), assessment.panel.deaths[row]
    away = {f: values[-1, at] - values[-13:-1, at].mean() for f, at in places.items()}
    own = 0.01 * (deaths[-1] - deaths[-13:-1].mean())
    assert split.families[SPILLOVER] == pytest.approx(-20 * away[SPILLOVER], abs=1e-3)
    assert split.families[INTENSITY] == pytest.approx(30 * away[INTENSITY] + 100 * own, abs=1e-3)
    assert [value for f, value in enumerate(split.families) if f not in places] == [0.0] * (len(FAMILIES) - 2)
    inside = {i: points for i, points, _ in split.indicators.get(INTENSITY, [])}
    if inside:
        assert inside[places[INTENSITY]] == pytest.approx(30 * away[INTENSITY], abs=1e-3)
        assert inside[-1] == pytest.approx(100 * own, abs=1e-3)


def test_families_get_the_mean_of_their_marginal_contributions_over_all_orders(
    pool: Pool, assessment: Assessment
) -> None:
    row = SAHEL.index("MLI")
    panel, months = assessment.panel, assessment.panel.months[-13:]
    asked = Questioned(pool, np.stack([panel.history(origin, 84)[row] for origin in months]))
    values = panel.values[row, -13:]
    players = sorted({INTENSITY, *FAMILY_OF[list(pool.reads)].tolist()})

    def worth(inside: set[int]) -> float:
        mixed = np.where(np.isin(FAMILY_OF, list(inside)), values[-1], values[:-1])
        history = np.full(12, 12) if INTENSITY in inside else np.arange(12)
        return float(asked.answers(mixed, history)[:, 0].mean())

    orders = list(permutations(players))
    naive = dict.fromkeys(players, 0.0)
    for order in orders:
        for at, player in enumerate(order):
            naive[player] += (worth(set(order[: at + 1])) - worth(set(order[:at]))) / len(orders)
    split = drivers.drivers(pool, assessment)["MLI"]["own_year"]["risk_score"]
    for player in players:
        assert split.families[player] == pytest.approx(naive[player], abs=1e-3)


def test_indicators_of_a_family_sum_to_it_within_their_standard_errors(pool: Pool, assessment: Assessment) -> None:
    found = drivers.drivers(pool, assessment)
    looked_into = 0
    for iso3 in SAHEL:
        for by_target in found[iso3].values():
            for split in by_target.values():
                for family, rows in split.indicators.items():
                    errors = np.array([error for *_, error in rows])
                    total = sum(points for _, points, _ in rows)
                    assert total == pytest.approx(split.families[family], abs=5 * np.sqrt((errors**2).sum()) + 0.05)
                    looked_into += 1
    assert looked_into > 0


def test_the_same_question_has_the_same_answer_whoever_else_is_asked_about(pool: Pool, assessment: Assessment) -> None:
    once, again = (drivers.drivers(pool, assessment)["MLI"]["own_year"] for _ in range(2))
    assert once == again
    alone = replace(assessment, panel=assessment.panel.only(["MLI", "BFA"]))
    assert drivers.drivers(pool, alone)["MLI"]["own_year"]["risk_score"].families == pytest.approx(
        once["risk_score"].families, abs=1e-4
    )


def test_a_country_that_cannot_be_forecast_has_no_drivers_and_is_no_background(assessment: Assessment) -> None:
    deaths = made(5, MONTHS)
    deaths[SAHEL.index("SEN"), -3] = np.nan
    with_hole = assessment_of(deaths)
    found = drivers.drivers(Conflictology(), with_hole)
    assert found["SEN"] is None
    known = [found[iso3]["region"]["risk_score"].value for iso3 in SAHEL if iso3 != "SEN"]
    assert found["MLI"]["region"]["risk_score"].average == pytest.approx(float(np.mean(known)), abs=1e-4)


def test_a_model_of_history_alone_is_all_intensity(assessment: Assessment) -> None:
    split = drivers.drivers(Conflictology(), assessment)["MLI"]["region"]["risk_score"]
    assert split.families[INTENSITY] == pytest.approx(split.value - split.average, abs=1e-6)
    assert not np.delete(split.families, INTENSITY).any()


def test_voters_of_a_pool_say_together_what_it_says(pool: Pool, assessment: Assessment) -> None:
    asked = Questioned(pool, assessment.panel.history(assessment.origin, 84))
    votes = asked.votes(assessment.panel.at(assessment.origin), np.arange(len(SAHEL)))
    assert votes.shape == (10, len(SAHEL), 2)
    near = pool.forecast(assessment.panel, assessment.origin).draws[:, :3].sum(axis=1)
    drawn = 100 * np.mean([(near >= rung).mean(axis=1) for rung in (1, 5, 25, 100, 300, 1000)], axis=0)
    np.testing.assert_allclose(votes.mean(axis=0)[:, 0], drawn, atol=0.2)
