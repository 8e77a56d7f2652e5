"""Attribution: the change of a score is split by cause exactly, whatever happened between two assessments."""

from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
from changing_archive import (
    FIRST,
    GW,
    LAST,
    MODEL,
    OTHER_MODEL,
    ChangingArchive,
    ReleasesOfEqualMonths,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel.assessment import Assessment, assess
from riskmodel.country_scores import risk_score
from riskmodel.errors import BadInput
from riskmodel.explanation.attribution import (
    ATTRIBUTED_SCORES,
    CAUSE_MEANINGS,
    CAUSES,
    PREDECESSORS,
    Attribution,
    ScoreInputs,
    assess_with_causes,
    attribute,
    shapley_values,
)
from riskmodel.explanation.view_diff import DATA_CAUSES, ViewDifference
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.component import Explainable
from riskmodel.months import Month, month


@pytest.fixture
def archive(tmp_path: Path) -> ChangingArchive:
    """An archive with three years of events."""
    archive = ChangingArchive(tmp_path)
    archive.ingest_events(archive.invent(FIRST, LAST), FIRST, LAST, "20.1")
    return archive


def assessed(inputs: ScoreInputs) -> Assessment:
    return assess(inputs.view, inputs.members, inputs.outcome, inputs.origin)


def same(one: Assessment, other: Assessment) -> bool:
    """Whether two assessments are equal bit for bit; the first can have more months, which are unknown."""
    width = other.panel.values.shape[1]
    shown = [(one.panel.values, other.panel.values)]
    shown += [(one.observed.deaths[kind], deaths) for kind, deaths in other.observed.deaths.items()]
    shown += [(one.expected.deaths[kind], deaths) for kind, deaths in other.expected.deaths.items()]
    shown += [(one.inputs.tables[name], table) for name, table in other.inputs.tables.items()]
    equal = (one.origin, one.observed.iso3, one.inputs.available) == (
        other.origin,
        other.observed.iso3,
        other.inputs.available,
    )
    if equal and other.inputs.events is not None:
        events, theirs = one.inputs.required_events, other.inputs.required_events
        shown += [(events.covered, theirs.covered)]
        equal = (
            events.event_id.tolist() == theirs.event_id.tolist() and events.deaths.tolist() == theirs.deaths.tolist()
        )
    return equal and all(np.array_equal(a[:, -width:], b, equal_nan=a.dtype.kind == "f") for a, b in shown)


def checked_attribution(before: ScoreInputs, after: ScoreInputs) -> Attribution:
    """The attribution of a change, after checks of the properties that every attribution has.

    A view with all causes equals the later view bit for bit, and a view with none the earlier one. The causes sum to
    the change, and absent causes are exactly 0.
    """
    first, last = assessed(before), assessed(after)
    difference = ViewDifference.between((before.view, first), (after.view, last))
    assert same(assess_with_causes(difference, before, after, ()), first)
    assert same(assess_with_causes(difference, before, after, difference.causes), last)
    for some in chain.from_iterable(combinations(difference.causes, n) for n in range(len(DATA_CAUSES))):
        ids = difference.view(some).events(["event_id"])["event_id"].to_pylist()
        assert len(ids) == len(set(ids)), "no event occurs twice"
    attribution = attribute(before, after)
    for metric in ATTRIBUTED_SCORES:
        for change in attribution.changes[metric].values():
            assert tuple(change.causes) == CAUSES
            if np.isfinite(list(change.causes.values())).all():
                assert sum(change.causes.values()) == pytest.approx(change.after - change.before, abs=1e-9)
                assert all(part == 0 for cause, part in change.causes.items() if cause not in attribution.present)
            else:
                assert np.isnan(list(change.causes.values())).all()
    for metric, iso3 in ((m, c) for m in ATTRIBUTED_SCORES for c in GW):
        change = attribution.changes[metric][iso3]
        assert np.isnan(change.before + change.after) == np.isnan(change.causes["model"]), (
            "known scores are always attributed"
        )
    return attribution


def scored(assessment: Assessment, model: Explainable = MODEL) -> dict[str, float]:
    """The risk score of each country, not rounded."""
    forecast = assessment.forecast(model)
    return {iso3: risk_score(forecast.only([iso3]).draws[0].astype(np.float64)) for iso3 in GW}


def parts(attribution: Attribution, iso3: str = "MLI", metric: str = "risk_score") -> dict[str, float]:
    """The parts of one country's change by cause, without zeros."""
    return {cause: part for cause, part in attribution.changes[metric][iso3].causes.items() if part}


def assert_single_cause(attribution: Attribution, cause: str) -> None:
    """One cause alone made the change, and the score changed."""
    assert attribution.present == (cause,)
    change = attribution.changes["risk_score"]["MLI"]
    assert parts(attribution) == {cause: pytest.approx(change.after - change.before)}
    assert change.after != change.before


def test_equal_inputs_have_no_change(archive: ChangingArchive) -> None:
    attribution = checked_attribution(archive.score_inputs(), archive.score_inputs())
    assert (attribution.present, parts(attribution)) == ((), {})
    assert attribution.changes["risk_score"]["MLI"].before == attribution.changes["risk_score"]["MLI"].after > 0


def test_the_scores_equal_those_of_the_draws(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    attribution = attribute(before, replace(before, model=OTHER_MODEL))
    for iso3 in GW:
        change = attribution.changes["risk_score"][iso3]
        assert change.before == scored(assessed(before))[iso3]
        assert change.after == scored(assessed(before), OTHER_MODEL)[iso3]


def test_late_events_of_known_months_are_new_events(archive: ChangingArchive) -> None:
    early = list(archive.rows)
    before = archive.score_inputs()
    archive.ingest_events([*early, *archive.invent(LAST - 2, LAST, 6)], LAST - 2, LAST, "20.2")
    assert_single_cause(checked_attribution(before, archive.score_inputs()), "new_events")


def test_changed_and_removed_events_are_revised_events(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    numbers = [n for n, row in archive.rows.items() if row["date"] >= str(LAST - 5)]
    for number in numbers[::2]:
        archive.rows[number]["best"] *= 9
    archive.ingest_events(numbers[:-2], LAST - 5, LAST, "20.2")
    assert_single_cause(checked_attribution(before, archive.score_inputs()), "revised_events")


def test_an_event_that_moved_to_another_country_is_always_in_exactly_one(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    number = next(
        n for n, row in archive.rows.items() if row["country_id"] == GW["MLI"] and row["date"] >= str(LAST - 3)
    )
    archive.rows[number] |= {"country_id": GW["NER"], "best": 500}
    archive.ingest_events(list(archive.rows), LAST - 3, LAST, "20.2")
    attribution = checked_attribution(before, archive.score_inputs())
    assert attribution.present == ("revised_events",)
    assert parts(attribution)["revised_events"] < 0 < parts(attribution, "NER")["revised_events"]


def test_an_event_that_moved_to_an_unknown_country_has_one_cause(tmp_path: Path) -> None:
    archive = ChangingArchive(tmp_path)
    numbers = archive.invent(FIRST, LAST)
    archive.ingest_events(numbers, FIRST, LAST, "20.1", ("MLI", "BFA"))
    before = archive.score_inputs()
    moved = next(n for n in numbers[::-1] if archive.rows[n]["country_id"] == GW["MLI"])
    archive.rows[moved] |= {"country_id": GW["NER"], "best": 500}
    archive.ingest_events(numbers, FIRST, LAST, "20.2")
    after = archive.score_inputs()
    attribution = checked_attribution(before, after)
    assert attribution.present == ("new_source",), "Niger had no source before"
    assert parts(attribution)["new_source"] < 0


def test_events_that_replace_a_table_are_a_new_source_for_the_country(tmp_path: Path) -> None:
    """No view between the two lacks both the table and the events: it would have months without deaths."""
    archive = ChangingArchive(tmp_path)
    numbers = archive.invent(FIRST, LAST, 3)
    archive.ingest_table(FIRST, LAST, countries=("NER", "BFA"))
    archive.ingest_events(numbers, FIRST, LAST, None, ("MLI",))
    before = archive.score_inputs()
    archive.ingest_events(numbers, FIRST, LAST)
    attribution = checked_attribution(before, archive.score_inputs())
    assert attribution.present == ("new_source",)
    assert parts(attribution, "NER")


def test_a_new_month_is_new_events_and_time_passing(archive: ChangingArchive, tmp_path: Path) -> None:
    """Time passing alone equals the change that a new month without events makes."""
    events = list(archive.rows)
    before = archive.score_inputs()
    archive.ingest_events(archive.invent(LAST + 1, LAST + 1, 9), LAST + 1, LAST + 1, "20.0.1")
    after = archive.score_inputs()
    attribution = checked_attribution(before, after)
    assert attribution.present == ("new_events", "moving_window")

    calm = ChangingArchive(tmp_path / "calm")
    calm.rows = archive.rows
    calm.ingest_events(events, FIRST, LAST, "20.1")
    calm.ingest_events([], LAST + 1, LAST + 1, "20.0.1")
    quiet, earlier, later = (scored(assessed(inputs))["MLI"] for inputs in (calm.score_inputs(), before, after))
    assert parts(attribution) == {
        "moving_window": pytest.approx(quiet - earlier),
        "new_events": pytest.approx(later - quiet),
    }
    assert quiet != earlier
    assert later > quiet


def test_events_added_to_a_table_are_a_new_source_and_the_next_release_is_not(tmp_path: Path) -> None:
    archive = ChangingArchive(tmp_path)
    archive.ingest_table(FIRST, LAST)
    before = archive.score_inputs()
    archive.ingest_events(archive.invent(FIRST, LAST, 3), LAST - 20, LAST, "20.1")
    between = archive.score_inputs()
    assert_single_cause(checked_attribution(before, between), "new_source")
    archive.ingest_events(archive.invent(LAST - 1, LAST, 9), LAST - 1, LAST, "20.2")
    attribution = checked_attribution(between, archive.score_inputs())
    assert attribution.present == ("new_events", "revised_events")


def test_a_new_month_of_a_new_source_is_no_new_event_of_the_old_one(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    archive.ingest_table(LAST + 1, LAST + 1, 300)
    attribution = checked_attribution(before, archive.score_inputs())
    assert attribution.present == ("moving_window", "new_source")
    assert parts(attribution)["new_source"] > 0


def test_months_of_a_table_that_were_unknown_are_new_and_known_ones_are_revised(tmp_path: Path) -> None:
    archive = ChangingArchive(tmp_path)
    archive.ingest_table(FIRST, LAST)
    before = archive.score_inputs()
    archive.ingest_table(FIRST - 9, FIRST - 1)
    filled = archive.score_inputs()
    assert checked_attribution(before, filled).present == ("new_events",)
    archive.ingest_table(LAST - 1, LAST, 200)
    assert_single_cause(checked_attribution(filled, archive.score_inputs()), "revised_events")


def test_another_model_is_the_only_cause(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    assert_single_cause(checked_attribution(before, archive.score_inputs(OTHER_MODEL)), "model")


def test_a_side_table_is_a_new_source_once(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    archive.ingest_displacement()
    first = archive.score_inputs()
    assert checked_attribution(before, first).present == ("new_source",)
    archive.ingest_displacement()
    assert checked_attribution(first, archive.score_inputs()).present == ("new_events",)
    assert checked_attribution(first, before).present == ("revised_events",)


def test_a_withdrawn_ingest_is_revised_events(archive: ChangingArchive) -> None:
    events = list(archive.rows)
    late = archive.ingest_events([*events, *archive.invent(LAST - 2, LAST, 6)], LAST - 2, LAST, "20.2")
    before = archive.score_inputs()
    archive.withdraw(late)
    assert_single_cause(checked_attribution(before, archive.score_inputs()), "revised_events")


def test_all_causes_at_once_and_in_reverse(archive: ChangingArchive) -> None:
    before = archive.score_inputs()
    archive.invent(LAST - 3, LAST, 2)
    for number in list(archive.rows)[::3]:
        archive.rows[number]["best"] += 7
    archive.ingest_events(list(archive.rows), LAST - 12, LAST, "20.2")
    archive.ingest_events(archive.invent(LAST + 1, LAST + 2, 4), LAST + 1, LAST + 2, "21.0.2")
    archive.ingest_table(LAST + 3, LAST + 3, 300)
    after = archive.score_inputs(OTHER_MODEL)
    assert checked_attribution(before, after).present == CAUSES
    assert checked_attribution(after, before).present == ("revised_events", "moving_window", "model")
    assert len(parts(attribute(before, after))) == len(CAUSES)


@pytest.mark.parametrize(("final", "cause"), [((100,), "revised_events"), ((50, 50), "new_events")])
def test_a_final_release_that_settles_months_has_one_cause(tmp_path: Path, final: tuple[int, ...], cause: str) -> None:
    """Half of the newest months was estimated to be missing; the final release adds that half."""
    archive = ReleasesOfEqualMonths(tmp_path)
    for m in range(1, 13):
        archive.release(f"20.0.{m}", f"2020-{m:02}", f"2020-{m:02}", 50)
    archive.release("21.1", "2016-01", "2020-12", *final)
    for m in range(1, 5):
        archive.release(f"21.0.{m}", f"2021-{m:02}", f"2021-{m:02}", 50)
    before = archive.score_inputs(Conflictology())
    revised = assessed(before).final.month("MLI", month("2021-04"))
    assert revised is not None
    assert revised.reported == 50 < revised.p25 < revised.expected < revised.p75
    assert revised.release_class == "monthly_candidate"
    archive.release("22.1", "2016-01", "2021-04", *final)
    after = archive.score_inputs(before.model)
    assert assessed(after).final.month("MLI", month("2021-04")) is None
    assert checked_attribution(before, after).present == (cause,)


def test_the_release_class_of_a_new_source_has_the_same_cause(tmp_path: Path) -> None:
    archive = ReleasesOfEqualMonths(tmp_path)
    archive.ingest_table(month("2016-01"), month("2021-01"))
    before = archive.score_inputs()
    for m in range(1, 13):
        archive.release(f"20.0.{m}", f"2020-{m:02}", f"2020-{m:02}", 50)
    archive.release("21.1", "2016-01", "2020-12", 100)
    archive.release("21.0.1", "2021-01", "2021-01", 50)
    assert_single_cause(checked_attribution(before, archive.score_inputs()), "new_source")


def test_inputs_that_cannot_be_compared_are_refused(archive: ChangingArchive) -> None:
    inputs = archive.score_inputs()
    simulated = replace(inputs.view, ingests=tuple(replace(i, simulated=True) for i in inputs.view.ingests))
    for other, why in (
        (replace(inputs, members=("NER", "MLI")), "countries"),
        (replace(inputs, outcome="all"), "outcomes .*state_based and all"),
        (replace(inputs, view=simulated), "data .*real and SIMULATED"),
    ):
        with pytest.raises(BadInput, match=why):
            attribute(inputs, other)


def test_shapley_values_of_a_game_computed_by_hand() -> None:
    """One left glove and two right ones: a pair is worth 1; the left one gets 2/3, a right one 1/6."""

    def pair(players: frozenset[str]) -> NDArray[np.float64]:
        return np.array([float("left" in players and bool({"right", "other right"} & players))])

    attribution = shapley_values(pair, ("left", "right", "other right", "idle"))
    assert [attribution[p][0] for p in attribution] == pytest.approx([2 / 3, 1 / 6, 1 / 6, 0], abs=1e-12)
    attribution = shapley_values(pair, ("left", "right", "other right"), {"left": ("right", "other right")})
    assert [attribution[p][0] for p in attribution] == pytest.approx([1, 0, 0], abs=1e-12), (
        "the last player completes the pair"
    )


@given(st.lists(st.floats(-100, 100), min_size=16, max_size=16), st.permutations(range(4)))
def test_the_order_of_causes_does_not_matter(worths: list[float], order: list[int]) -> None:
    players = [CAUSES[i] for i in order]

    def value(some: frozenset[str]) -> NDArray[np.float64]:
        return np.array([worths[sum(1 << CAUSES.index(p) for p in some)]])

    one, other = shapley_values(value, players, PREDECESSORS), shapley_values(value, CAUSES[:4], PREDECESSORS)
    assert [one[p][0] for p in CAUSES[:4]] == pytest.approx([other[p][0] for p in CAUSES[:4]], abs=1e-9)
    assert sum(part[0] for part in one.values()) == pytest.approx(worths[15] - worths[0], abs=1e-9)


def test_every_cause_has_a_meaning_in_both_languages() -> None:
    assert tuple(CAUSE_MEANINGS) == CAUSES
    assert all(text[language] for text in CAUSE_MEANINGS.values() for language in ("en", "fr"))


STEPS = ("late", "revised", "gone", "month", "straggler", "table", "withdrawn", "displaced", "model")


def step(archive: ChangingArchive, what: str, last: Month, taken: list[str], *, released: bool) -> Month:
    """Make one change; returns the last month with events."""
    release = f"21.{archive.files + 2}" if released else None
    known = [n for n, row in archive.rows.items() if row["date"][:7] <= str(last)]
    if what == "late":
        taken.append(archive.ingest_events([*known, *archive.invent(last - 4, last, 2)], last - 6, last, release))
    elif what == "revised":
        for number in known[archive.files :: 3]:
            archive.rows[number]["best"] += 5
        taken.append(archive.ingest_events(known, last - 20, last, release))
    elif what == "gone":
        taken.append(archive.ingest_events(known[::2], last - 9, last, release))
    elif what == "month":
        last = last + 1
        taken.append(archive.ingest_events(archive.invent(last, last, 3), last, last))
    elif what == "straggler":
        taken.append(archive.ingest_table(last + 1, last + 1, countries=("MLI",)))
    elif what == "table":
        taken.append(archive.ingest_table(last - 7, last - 2))
    elif what == "withdrawn" and taken:
        archive.withdraw(taken.pop())
    elif what == "displaced":
        archive.ingest_displacement()
    return last


@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(STEPS), max_size=3),
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_parts_sum_to_the_change_for_any_history(
    tmp_path_factory: pytest.TempPathFactory, seed: int, earlier: list[str], later: list[str], released: bool
) -> None:
    archive, taken = ChangingArchive(tmp_path_factory.mktemp("history"), seed), list[str]()
    archive.ingest_events(archive.invent(FIRST, LAST, 1), FIRST, LAST, "20.1" if released else None)
    last = LAST
    for what in earlier:
        last = step(archive, what, last, taken, released=released)
    before = archive.score_inputs()
    for what in later:
        last = step(archive, what, last, taken, released=released)
    checked_attribution(before, archive.score_inputs(OTHER_MODEL if "model" in later else MODEL))
