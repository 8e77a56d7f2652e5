"""What drives a score: contributions that sum, that are fair, and that are told as they are."""

import re
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Self

import numpy as np
import pytest
from histories import SAHEL, made, rectangle
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.explanation import drivers, narrative, neighbour_effects
from riskmodel.explanation.drivers import FAMILY_OF, Questioned
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.component import Supposed
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import SMOOTHER, Part, Pool
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel, assemble
from riskmodel.months import Month
from riskmodel.reporting.completeness import Completeness, Curve
from riskmodel.scores import country_scores

MONTHS = 200
INTENSITY, SPILLOVER = (
    next(i for i, f in enumerate(FAMILIES) if f.name == name) for name in ("intensity", "spillover")
)
POOL = Pool((Part(Forest(trees=10, leaf=5, draws=500), 500), Part(SMOOTHER, 500)))


def seen_of(deaths: NDArray[np.float64]) -> Assessment:
    """An assessment of the region where deaths are all that is known."""
    observed = rectangle(deaths)
    unknown = np.full(observed.source.shape, np.nan)
    curve = Curve(unknown, unknown, np.full(24, np.nan))
    completeness = Completeness("state_based", observed.iso3, observed.months, observed.source, unknown, unknown, curve)
    inputs = Inputs(observed.iso3, observed.months, {"deaths": deaths})
    panel = assemble(observed, "state_based", inputs)
    return Assessment(SAHEL, "state_based", observed.months[-1], observed, observed, completeness, inputs, panel)


@pytest.fixture(scope="module")
def seen() -> Assessment:
    return seen_of(made(5, MONTHS))


@pytest.fixture(scope="module")
def model(seen: Assessment) -> Pool:
    return POOL.fit(seen.panel, seen.origin)


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


def test_contributions_sum_to_the_difference_from_each_average(model: Pool, seen: Assessment) -> None:
    found = drivers.drivers(model, seen)
    for iso3 in SAHEL:
        for background in drivers.BACKGROUNDS:
            for target in drivers.TARGETS:
                split = found[iso3][background][target]
                assert sum(split.families) == pytest.approx(split.value - split.average, abs=1e-4)
    scores = [found[iso3]["region"]["risk_score"] for iso3 in SAHEL]
    assert {round(s.average, 4) for s in scores} == {round(float(np.mean([s.value for s in scores])), 4)}


def test_what_is_explained_is_what_is_served_up_to_the_rounding_of_draws(model: Pool, seen: Assessment) -> None:
    bands = {"minimal": 0}
    served = country_scores(model.forecast(seen.panel, seen.origin), seen.expected, bands)
    found = drivers.drivers(model, seen)
    for row in served:
        split = found[row["location_code"]]["own_year"]
        assert split["risk_score"].value == pytest.approx(row["risk_score"], abs=0.2)
        assert split["escalation_from_draws"].value == pytest.approx(100 * row["escalation_from_draws"], abs=0.6)


def test_the_average_is_that_of_the_twelve_origins_before(model: Pool, seen: Assessment) -> None:
    split = drivers.drivers(model, seen)["NER"]["own_year"]["risk_score"]
    row = SAHEL.index("NER")
    past = [seen.panel.history(origin, 84)[row] for origin in seen.panel.months[-13:-1]]
    asked = Questioned(model, np.stack(past))
    answers = asked.answers(seen.panel.values[row, -13:-1], np.arange(12))
    assert split.average == pytest.approx(float(answers[:, 0].mean()), abs=1e-4)


def test_a_sum_is_split_into_its_terms(seen: Assessment) -> None:
    places = {f: int(np.flatnonzero(f == FAMILY_OF)[0]) for f in (INTENSITY, SPILLOVER)}
    model = Linear({places[INTENSITY]: 0.3, places[SPILLOVER]: -0.2}, own=0.01)
    split = drivers.drivers(model, seen)["BFA"]["own_year"]["risk_score"]
    row = SAHEL.index("BFA")
    values, deaths = seen.panel.values[row].astype(float), seen.panel.deaths[row]
    away = {f: values[-1, at] - values[-13:-1, at].mean() for f, at in places.items()}
    own = 0.01 * (deaths[-1] - deaths[-13:-1].mean())
    assert split.families[SPILLOVER] == pytest.approx(-20 * away[SPILLOVER], abs=1e-3)
    assert split.families[INTENSITY] == pytest.approx(30 * away[INTENSITY] + 100 * own, abs=1e-3)
    assert [value for f, value in enumerate(split.families) if f not in places] == [0.0] * (len(FAMILIES) - 2)
    inside = {i: points for i, points, _ in split.indicators.get(INTENSITY, [])}
    if inside:
        assert inside[places[INTENSITY]] == pytest.approx(30 * away[INTENSITY], abs=1e-3)
        assert inside[-1] == pytest.approx(100 * own, abs=1e-3)


def test_families_get_the_mean_of_their_marginal_contributions_over_all_orders(model: Pool, seen: Assessment) -> None:
    row = SAHEL.index("MLI")
    panel, months = seen.panel, seen.panel.months[-13:]
    asked = Questioned(model, np.stack([panel.history(origin, 84)[row] for origin in months]))
    values = panel.values[row, -13:]
    players = sorted({INTENSITY, *FAMILY_OF[list(model.reads)].tolist()})

    def worth(inside: set[int]) -> float:
        mixed = np.where(np.isin(FAMILY_OF, list(inside)), values[-1], values[:-1])
        history = np.full(12, 12) if INTENSITY in inside else np.arange(12)
        return float(asked.answers(mixed, history)[:, 0].mean())

    orders = list(permutations(players))
    naive = dict.fromkeys(players, 0.0)
    for order in orders:
        for at, player in enumerate(order):
            naive[player] += (worth(set(order[: at + 1])) - worth(set(order[:at]))) / len(orders)
    split = drivers.drivers(model, seen)["MLI"]["own_year"]["risk_score"]
    for player in players:
        assert split.families[player] == pytest.approx(naive[player], abs=1e-3)


def test_indicators_of_a_family_sum_to_it_within_their_standard_errors(model: Pool, seen: Assessment) -> None:
    found = drivers.drivers(model, seen)
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


def test_the_same_question_has_the_same_answer_whoever_else_is_asked_about(model: Pool, seen: Assessment) -> None:
    once, again = (drivers.drivers(model, seen)["MLI"]["own_year"] for _ in range(2))
    assert once == again
    alone = replace(seen, panel=seen.panel.only(["MLI", "BFA"]))
    assert drivers.drivers(model, alone)["MLI"]["own_year"]["risk_score"].families == pytest.approx(
        once["risk_score"].families, abs=1e-4
    )


def test_a_country_that_cannot_be_forecast_has_no_drivers_and_is_no_background(seen: Assessment) -> None:
    deaths = made(5, MONTHS)
    deaths[SAHEL.index("SEN"), -3] = np.nan
    with_hole = seen_of(deaths)
    found = drivers.drivers(Conflictology(), with_hole)
    assert found["SEN"] is None
    known = [found[iso3]["region"]["risk_score"].value for iso3 in SAHEL if iso3 != "SEN"]
    assert found["MLI"]["region"]["risk_score"].average == pytest.approx(float(np.mean(known)), abs=1e-4)


def test_a_model_of_history_alone_is_all_intensity(seen: Assessment) -> None:
    split = drivers.drivers(Conflictology(), seen)["MLI"]["region"]["risk_score"]
    assert split.families[INTENSITY] == pytest.approx(split.value - split.average, abs=1e-6)
    assert not np.delete(split.families, INTENSITY).any()


def test_voters_of_a_pool_say_together_what_it_says(model: Pool, seen: Assessment) -> None:
    asked = Questioned(model, seen.panel.history(seen.origin, 84))
    votes = asked.votes(seen.panel.at(seen.origin), np.arange(len(SAHEL)))
    assert votes.shape == (10, len(SAHEL), 2)
    near = model.forecast(seen.panel, seen.origin).draws[:, :3].sum(axis=1)
    drawn = 100 * np.mean([(near >= rung).mean(axis=1) for rung in (1, 5, 25, 100, 300, 1000)], axis=0)
    np.testing.assert_allclose(votes.mean(axis=0)[:, 0], drawn, atol=0.2)


def test_the_matrix_tells_of_neighbours_only_and_is_nil_for_a_model_that_reads_none(
    model: Pool, seen: Assessment
) -> None:
    matrix = neighbour_effects.compute(model, seen)
    to, source = SAHEL.index("SEN"), SAHEL.index("NER")
    assert np.isnan(matrix.pairs[source, to])
    assert np.isnan(np.diagonal(matrix.pairs)).all()
    assert np.nanmax(np.abs(matrix.pairs)) > 0
    without = neighbour_effects.compute(Conflictology(), seen)
    assert np.nanmax(np.abs(without.pairs)) == 0


def test_a_pair_of_the_matrix_is_the_score_less_that_with_the_neighbour_at_peace(model: Pool, seen: Assessment) -> None:
    matrix = neighbour_effects.compute(model, seen)
    deaths = seen.inputs.tables["deaths"].copy()
    source, to = SAHEL.index("BFA"), SAHEL.index("MLI")
    deaths[source] = 0
    peaceful = assemble(seen.expected, "state_based", Inputs(SAHEL, seen.inputs.months, {"deaths": deaths}))
    asked = Questioned(model, seen.panel.history(seen.origin, 84))
    then = asked.answers(peaceful.at(seen.origin), np.arange(len(SAHEL)))[to, 0]
    assert matrix.pairs[source, to] == pytest.approx(matrix.score[to] - then, abs=1e-4)


def test_supposing_the_same_changes_nothing_and_more_moves_the_score(model: Pool, seen: Assessment) -> None:
    rng = np.random.default_rng(0)
    same = neighbour_effects.suppose(model, seen, "MLI", 1.0, 3, rng)
    np.testing.assert_allclose(same.after, same.before, atol=1e-9)
    assert np.abs(same.low).max() == np.abs(same.high).max() == 0
    deadliest = int(seen.panel.deaths[:, -3:].sum(axis=1).argmax())
    more = neighbour_effects.suppose(model, seen, SAHEL[deadliest], 20.0, 3, rng)
    moved = more.after - more.before
    assert moved[deadliest, 0] > 0
    assert (more.low <= moved + 1e-9).all()
    assert (moved <= more.high + 1e-9).all()


def test_what_is_told_is_what_was_computed_in_both_languages(model: Pool, seen: Assessment) -> None:
    found = drivers.drivers(model, seen)["MLI"]
    score = found["own_year"]["risk_score"].value
    told = narrative.drivers_told(found, seen, "MLI", dict.fromkeys(drivers.TARGETS, score))
    split = told["risk_score"]["own_year"]
    assert [family["family"] for family in split["families"]] == [family.name for family in FAMILIES]
    assert sum(family["contribution"] for family in split["families"]) == pytest.approx(split["difference"], abs=0.1)
    assert split["rounding"] == 0
    assert split["sentence"]["en"].startswith("Mali: risk score ")
    assert "points associated with: " in split["sentence"]["en"]
    assert split["sentence"]["fr"].startswith("Mali\xa0: score de risque de ")
    capital = next(family for family in split["families"] if family["family"] == "capital")
    assert capital["contribution"] == 0
    assert capital["sentence"]["en"].startswith("Capital and sites: 0.0 points (this model does not read it")
    assert "unknown" in capital["sentence"]["en"]
    assert "inconnu" in capital["sentence"]["fr"]
    assert told["events"] == {}


def test_points_are_counted_and_french_punctuation_is_bound_to_what_it_follows(model: Pool, seen: Assessment) -> None:
    split = drivers.drivers(model, seen)["MLI"]["own_year"]
    one = {target: replace(split[target], value=1.0, average=2.0) for target in drivers.TARGETS}
    told = narrative.drivers_told({"own_year": one}, seen, "MLI", dict.fromkeys(drivers.TARGETS, 1.0))
    risk, escalation = (told[target]["own_year"]["sentence"] for target in drivers.TARGETS)
    assert "1.0 point below" in risk["en"]
    assert "1,0 point au-dessous" in risk["fr"]
    assert "1.0 percentage point below" in escalation["en"]
    assert "de 1,0\xa0%, 1,0 point de pourcentage au-dessous" in escalation["fr"]
    texts = [risk["fr"], told["method"]["fr"]]
    texts += [one["missing"]["fr"] for family in narrative.declared("state_based") for one in family["indicators"]]
    texts += [family["sentence"]["fr"] for family in told["risk_score"]["own_year"]["families"]]
    assert not [text for text in texts if re.search(" [:;%?!]|\\d \\d", text)]


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert narrative.number(1234.56, "en") == "1,234.6"
    assert narrative.number(-0.04, "en", signed=True) == "0.0"
    assert narrative.number(2.5, "en", signed=True) == "+2.5"
    assert narrative.number(-2.5, "fr", signed=True) == "−2,5"
    log, share = (next(i for i in INDICATORS if i.scale == scale) for scale in ("log1p", "share"))
    assert narrative.value(log, float(np.log1p(19)), "en") == "19"
    assert narrative.value(share, 0.054, "en") == "5.4%"
    assert narrative.value(share, 0.054, "fr").replace("\xa0", " ").replace("\u202f", " ") == "5,4 %"
    assert narrative.value(log, float("nan"), "fr") == "inconnu"
