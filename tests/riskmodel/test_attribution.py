"""What changed: the change of a score is split by cause, exactly, whatever came between two assessments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import ged
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.assessment import Assessment, assess, region_origin
from riskmodel.country_scores import risk_score
from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
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
from riskmodel.forecasting.component import Explainable, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.ingest import ingest
from riskmodel.months import Month, month
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GW = {"MLI": ged.MALI, "NER": ged.NIGER, "BFA": ged.BURKINA_FASO}
FIRST = np.datetime64("2017-01", "M")
BEGUN = np.datetime64("2019-12", "M")
"""The last month of the history that every archive of these tests starts with."""


@dataclass(frozen=True)
class Attentive:
    """A model that reads everything it is shown: any difference in deaths or indicators moves its draws."""

    factor: float = 1.0
    name: str = "attentive"

    def fit(self, panel: Panel, origin: Month) -> "Attentive":
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        values = np.nan_to_num(panel.at(origin).astype(np.float64), posinf=0.0, neginf=0.0)
        read = np.abs(np.sin(values)).mean(axis=1) + np.isnan(panel.at(origin)).mean(axis=1)
        past = np.nan_to_num(panel.history(origin, 12))
        level = self.factor * (past * 0.7 ** np.arange(12)[::-1]).sum(axis=1) * (0.5 + read)
        draws = np.rint(level[:, None, None] * np.exp(np.linspace(-3, 3, 400)) * np.ones((LEADS, 1)))
        known = forecastable(panel, origin)[:, None, None]
        return Forecast(origin, panel.iso3, panel.outcome, np.where(known, draws, np.nan).astype(np.float32))

    @property
    def used_indicators(self) -> frozenset[int]:
        return frozenset()


MODEL, OTHER = Attentive(), Attentive(1.4)


class Told:
    """An archive to which things are told one after another, and the stands in between."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        folder.mkdir(exist_ok=True)
        self.archive, self.folder = Archive(folder / "archive"), folder
        self.rng, self.files = np.random.default_rng(seed), 0
        self.rows: dict[int, dict[str, Any]] = {}

    def invent(self, first: Month, last: Month, mean: float = 1.5, countries: Sequence[str] = tuple(GW)) -> list[int]:
        """Events of these months that nobody has told of yet; returns their ids."""
        made = []
        for m in np.arange(first, last + 1):
            for iso3 in countries:
                for _ in range(int(self.rng.poisson(mean))):
                    number, dead = len(self.rows) + 1, int(self.rng.geometric(0.15))
                    self.rows[number] = {
                        "id": number,
                        "date": f"{m}-{self.rng.integers(1, 29):02}",
                        "country_id": GW[iso3],
                        "best": dead,
                        "high": dead,
                        "side_b": f"Invented side {self.rng.integers(4)}",
                        "latitude": round(float(self.rng.uniform(12, 16)), 3),
                        "where_prec": int(self.rng.integers(1, 6)),
                        "date_prec": int(self.rng.integers(1, 6)),
                        "type_of_violence": int(self.rng.integers(1, 4)),
                    }
                    made.append(number)
        return made

    def tell(
        self,
        numbers: Sequence[int],
        first: Month,
        last: Month,
        release: str | None = None,
        countries: Sequence[str] = tuple(GW),
    ) -> str:
        """Take in a file with some of the events, as all there was in these months; returns the ingest's id."""
        self.files += 1
        rows = [self.rows[n] for n in numbers if first <= np.datetime64(self.rows[n]["date"][:7], "M") <= last]
        path = ged.write(self.folder / f"{self.files}.csv", *rows, {**self.rows[1], "id": 10**6, "country_id": 651})
        covers = [Coverage(iso3, first, last) for iso3 in countries]
        return ingest(
            self.archive, GedFile(path), covers=covers, release=release, now=NOW + timedelta(days=self.files)
        ).ingest.id

    def tabulate(self, first: Month, last: Month, scale: float = 20.0, countries: Sequence[str] = tuple(GW)) -> str:
        """Take in a country-month table of these months; returns the ingest's id."""
        self.files += 1
        path = self.folder / f"{self.files}.monthly.csv"
        lines = [
            f"{iso3},{m},{int(self.rng.exponential(scale))}\n" for iso3 in countries for m in np.arange(first, last + 1)
        ]
        path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
        return ingest(self.archive, MonthlyFile(path), now=NOW + timedelta(days=self.files)).ingest.id

    def displaced(self) -> None:
        """Take in a table of displaced people."""
        self.files += 1
        path = self.folder / f"{self.files}.displaced.csv"
        header = "ISO3,Name,Year,Conflict Stock Displacement,Conflict New Displacements\n"
        path.write_text(header + "".join(f"MLI,Mali,{year},{1000 * self.files},100\n" for year in (2017, 2018, 2019)))
        ingest(self.archive, DisplacementFile(path), now=NOW + timedelta(days=self.files))

    def stand(self, model: Explainable = MODEL, outcome: str = "state_based") -> ScoreInputs:
        """All that is told by now."""
        members, view = geography.region("MLI").members, self.archive.view()
        return ScoreInputs(view, model, region_origin(view, members, outcome), members, outcome)

    def withdraw(self, number: str) -> None:
        self.archive.withdraw(number, "it was wrong", NOW + timedelta(days=self.files))


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Three years of events."""
    made = Told(tmp_path)
    made.tell(made.invent(FIRST, BEGUN), FIRST, BEGUN, "20.1")
    return made


def seen(stand: ScoreInputs) -> Assessment:
    return assess(stand.view, stand.members, stand.outcome, stand.origin)


def same(one: Assessment, other: Assessment) -> bool:
    """Whether two assessments show the same, bit for bit; one may reach further back into months nobody tells of."""
    width = other.panel.values.shape[1]
    shown = [(one.panel.values, other.panel.values)]
    shown += [(one.observed.deaths[kind], deaths) for kind, deaths in other.observed.deaths.items()]
    shown += [(one.expected.deaths[kind], deaths) for kind, deaths in other.expected.deaths.items()]
    shown += [(one.inputs.tables[name], table) for name, table in other.inputs.tables.items()]
    places = (one.origin, one.observed.iso3, one.inputs.available) == (
        other.origin,
        other.observed.iso3,
        other.inputs.available,
    )
    if places and other.inputs.events is not None:
        events, theirs = one.inputs.required_events, other.inputs.required_events
        shown += [(events.covered, theirs.covered)]
        places = (
            events.event_id.tolist() == theirs.event_id.tolist() and events.deaths.tolist() == theirs.deaths.tolist()
        )
    return places and all(np.array_equal(a[:, -width:], b, equal_nan=a.dtype.kind == "f") for a, b in shown)


def holds(before: ScoreInputs, after: ScoreInputs) -> Attribution:
    """The change, when all has been found true that has to hold whatever it is.

    A view with all causes, and one with none, show bit for bit what the later and the earlier view show; the causes sum
    to the change, and those that are not there are exactly 0.
    """
    then, now = seen(before), seen(after)
    difference = ViewDifference.between((before.view, then), (after.view, now))
    assert same(assess_with_causes(difference, before, after, ()), then)
    assert same(assess_with_causes(difference, before, after, difference.causes), now)
    for some in chain.from_iterable(combinations(difference.causes, n) for n in range(len(DATA_CAUSES))):
        ids = difference.view(some).events(["event_id"])["event_id"].to_pylist()
        assert len(ids) == len(set(ids)), "an event is never there twice"
    found = attribute(before, after)
    for metric in ATTRIBUTED_SCORES:
        for split in found.changes[metric].values():
            assert tuple(split.causes) == CAUSES
            if np.isfinite(list(split.causes.values())).all():
                assert sum(split.causes.values()) == pytest.approx(split.after - split.before, abs=1e-9)
                assert all(part == 0 for cause, part in split.causes.items() if cause not in found.present)
            else:
                assert np.isnan(list(split.causes.values())).all()
    for metric, iso3 in ((m, c) for m in ATTRIBUTED_SCORES for c in GW):
        split = found.changes[metric][iso3]
        assert np.isnan(split.before + split.after) == np.isnan(split.causes["model"]), "known scores are always split"
    return found


def scored(seen: Assessment, model: Explainable = MODEL) -> dict[str, float]:
    """The risk score of each country, as recompute has it but not rounded."""
    forecast = model.forecast(seen.panel, seen.origin)
    return {iso3: risk_score(forecast.country_draws(iso3).astype(np.float64)) for iso3 in GW}


def parts(found: Attribution, iso3: str = "MLI", metric: str = "risk_score") -> dict[str, float]:
    """What the causes add to one country's score, without those that add nothing."""
    return {cause: part for cause, part in found.changes[metric][iso3].causes.items() if part}


def whole(found: Attribution, cause: str) -> None:
    """One cause alone brought the whole change, and there was one."""
    assert found.present == (cause,)
    split = found.changes["risk_score"]["MLI"]
    assert parts(found) == {cause: pytest.approx(split.after - split.before)}
    assert split.after != split.before


def test_nothing_changed_and_nothing_is_said_to_have(told: Told) -> None:
    found = holds(told.stand(), told.stand())
    assert (found.present, parts(found)) == ((), {})
    assert found.changes["risk_score"]["MLI"].before == found.changes["risk_score"]["MLI"].after > 0


def test_the_scores_are_those_of_the_same_draws(told: Told) -> None:
    before = told.stand()
    found = attribute(before, replace(before, model=OTHER))
    for iso3 in GW:
        split = found.changes["risk_score"][iso3]
        assert split.before == scored(seen(before))[iso3]
        assert split.after == scored(seen(before), OTHER)[iso3]


def test_late_events_of_known_months_are_new_events(told: Told) -> None:
    early = list(told.rows)
    before = told.stand()
    told.tell([*early, *told.invent(BEGUN - 2, BEGUN, 6)], BEGUN - 2, BEGUN, "20.2")
    whole(holds(before, told.stand()), "new_events")


def test_changed_and_vanished_events_are_revised_events(told: Told) -> None:
    before = told.stand()
    numbers = [n for n, row in told.rows.items() if row["date"] >= str(BEGUN - 5)]
    for number in numbers[::2]:
        told.rows[number]["best"] *= 9
    told.tell(numbers[:-2], BEGUN - 5, BEGUN, "20.2")
    whole(holds(before, told.stand()), "revised_events")


def test_an_event_that_moved_to_another_country_is_never_in_both_or_in_neither(told: Told) -> None:
    before = told.stand()
    number = next(n for n, row in told.rows.items() if row["country_id"] == GW["MLI"] and row["date"] >= str(BEGUN - 3))
    told.rows[number] |= {"country_id": GW["NER"], "best": 500}
    told.tell(list(told.rows), BEGUN - 3, BEGUN, "20.2")
    found = holds(before, told.stand())
    assert found.present == ("revised_events",)
    assert parts(found)["revised_events"] < 0 < parts(found, "NER")["revised_events"]


def test_an_event_that_moved_into_what_was_unknown_comes_and_goes_by_one_cause(tmp_path: Path) -> None:
    told = Told(tmp_path)
    numbers = told.invent(FIRST, BEGUN)
    told.tell(numbers, FIRST, BEGUN, "20.1", ("MLI", "BFA"))
    before = told.stand()
    moved = next(n for n in numbers[::-1] if told.rows[n]["country_id"] == GW["MLI"])
    told.rows[moved] |= {"country_id": GW["NER"], "best": 500}
    told.tell(numbers, FIRST, BEGUN, "20.2")
    after = told.stand()
    found = holds(before, after)
    assert found.present == ("new_source",), "nothing had told of Niger"
    assert parts(found)["new_source"] < 0


def test_events_in_place_of_a_table_are_a_new_source_even_if_they_spoke_of_other_countries(tmp_path: Path) -> None:
    """Without the table and before the events it would be a month of no deaths; it never is."""
    told = Told(tmp_path)
    numbers = told.invent(FIRST, BEGUN, 3)
    told.tabulate(FIRST, BEGUN, countries=("NER", "BFA"))
    told.tell(numbers, FIRST, BEGUN, None, ("MLI",))
    before = told.stand()
    told.tell(numbers, FIRST, BEGUN)
    found = holds(before, told.stand())
    assert found.present == ("new_source",)
    assert parts(found, "NER")


def test_a_new_month_is_its_events_and_the_time_that_passed(told: Told, tmp_path: Path) -> None:
    """Time passing alone is what a month of which nothing was told but quiet would have made."""
    events = list(told.rows)
    before = told.stand()
    told.tell(told.invent(BEGUN + 1, BEGUN + 1, 9), BEGUN + 1, BEGUN + 1, "20.0.1")
    after = told.stand()
    found = holds(before, after)
    assert found.present == ("new_events", "moving_window")

    calm = Told(tmp_path / "calm")
    calm.rows = told.rows
    calm.tell(events, FIRST, BEGUN, "20.1")
    calm.tell([], BEGUN + 1, BEGUN + 1, "20.0.1")
    quiet, then, now = (scored(seen(stand))["MLI"] for stand in (calm.stand(), before, after))
    assert parts(found) == {"moving_window": pytest.approx(quiet - then), "new_events": pytest.approx(now - quiet)}
    assert quiet != then
    assert now > quiet


def test_events_beside_a_table_are_a_new_source_and_the_next_release_is_not(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.tabulate(FIRST, BEGUN)
    before = told.stand()
    told.tell(told.invent(FIRST, BEGUN, 3), BEGUN - 20, BEGUN, "20.1")
    between = told.stand()
    whole(holds(before, between), "new_source")
    told.tell(told.invent(BEGUN - 1, BEGUN, 9), BEGUN - 1, BEGUN, "20.2")
    found = holds(between, told.stand())
    assert found.present == ("new_events", "revised_events")


def test_a_new_month_that_a_new_source_brings_is_no_event_of_the_old_one(told: Told) -> None:
    before = told.stand()
    told.tabulate(BEGUN + 1, BEGUN + 1, 300)
    found = holds(before, told.stand())
    assert found.present == ("moving_window", "new_source")
    assert parts(found)["new_source"] > 0


def test_months_of_a_table_that_were_unknown_are_new_and_known_ones_are_revised(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.tabulate(FIRST, BEGUN)
    before = told.stand()
    told.tabulate(FIRST - 9, FIRST - 1)
    filled = told.stand()
    assert holds(before, filled).present == ("new_events",)
    told.tabulate(BEGUN - 1, BEGUN, 200)
    whole(holds(filled, told.stand()), "revised_events")


def test_a_model_trained_anew(told: Told) -> None:
    before = told.stand()
    whole(holds(before, told.stand(OTHER)), "model")


def test_a_table_beside_the_outcomes_is_a_new_source_once(told: Told) -> None:
    before = told.stand()
    told.displaced()
    first = told.stand()
    assert holds(before, first).present == ("new_source",)
    told.displaced()
    assert holds(first, told.stand()).present == ("new_events",)
    assert holds(first, before).present == ("revised_events",)


def test_what_was_taken_back_is_revised(told: Told) -> None:
    events = list(told.rows)
    late = told.tell([*events, *told.invent(BEGUN - 2, BEGUN, 6)], BEGUN - 2, BEGUN, "20.2")
    before = told.stand()
    told.withdraw(late)
    whole(holds(before, told.stand()), "revised_events")


def test_all_at_once_and_backwards(told: Told) -> None:
    before = told.stand()
    told.invent(BEGUN - 3, BEGUN, 2)
    for number in list(told.rows)[::3]:
        told.rows[number]["best"] += 7
    told.tell(list(told.rows), BEGUN - 12, BEGUN, "20.2")
    told.tell(told.invent(BEGUN + 1, BEGUN + 2, 4), BEGUN + 1, BEGUN + 2, "21.0.2")
    told.tabulate(BEGUN + 3, BEGUN + 3, 300)
    after = told.stand(OTHER)
    assert holds(before, after).present == CAUSES
    assert holds(after, before).present == ("revised_events", "moving_window", "model")
    assert len(parts(attribute(before, after))) == len(CAUSES)


class Vintages(Told):
    """Each month one event of 100 deaths a country, of which a candidate release knows half."""

    def release(self, number: str, first: str, last: str, *deaths: int) -> None:
        """Events of so many deaths each in every month."""
        months = np.arange(month(first), month(last) + 1)
        self.files += 1
        rows = [
            {
                "id": 10**6 * gw + 10 * int(m.astype(int)) + which,
                "date": f"{m}-05",
                "country_id": gw,
                "best": dead,
                "high": dead,
            }
            for gw in GW.values()
            for m in months
            for which, dead in enumerate(deaths)
        ]
        path = ged.write(self.folder / f"{self.files}.csv", *rows)
        covers = [Coverage(iso3, months[0], months[-1]) for iso3 in GW]
        ingest(self.archive, GedFile(path), covers=covers, release=number, now=NOW)


@pytest.mark.parametrize(("final", "cause"), [((100,), "revised_events"), ((50, 50), "new_events")])
def test_a_final_release_that_says_what_was_expected_moves_no_score(
    tmp_path: Path, final: tuple[int, ...], cause: str
) -> None:
    """Half of the newest months was held to be missing: the other half comes with the certainty that it was all."""
    told = Vintages(tmp_path)
    for m in range(1, 13):
        told.release(f"20.0.{m}", f"2020-{m:02}", f"2020-{m:02}", 50)
    told.release("21.1", "2016-01", "2020-12", *final)
    for m in range(1, 5):
        told.release(f"21.0.{m}", f"2021-{m:02}", f"2021-{m:02}", 50)
    before = told.stand(Conflictology())
    share = seen(before).completeness.share_of_month("MLI", month("2021-04"))
    assert share is not None
    assert share.value == 0.5
    told.release("22.1", "2016-01", "2021-04", *final)
    found = holds(before, told.stand(before.model))
    assert found.present == (cause,)
    for split in (found.changes["risk_score"][iso3] for iso3 in GW):
        assert split.before == split.after > 0
        assert set(split.causes.values()) == {0.0}


def test_how_complete_a_new_source_is_comes_with_it(tmp_path: Path) -> None:
    told = Vintages(tmp_path)
    told.tabulate(month("2016-01"), month("2021-01"))
    before = told.stand()
    for m in range(1, 13):
        told.release(f"20.0.{m}", f"2020-{m:02}", f"2020-{m:02}", 50)
    told.release("21.1", "2016-01", "2020-12", 100)
    told.release("21.0.1", "2021-01", "2021-01", 50)
    whole(holds(before, told.stand()), "new_source")


def test_reports_that_age_are_time_passing(tmp_path: Path) -> None:
    """A candidate month half of which is missing is held to be whole in the end: what was expected is so no more."""
    told = Vintages(tmp_path)
    for m in range(1, 13):
        told.release(f"20.0.{m}", f"2020-{m:02}", f"2020-{m:02}", 50)
    told.release("21.1", "2016-01", "2020-12", 100)
    told.release("21.0.1", "2021-01", "2021-01", 50)
    before = told.stand(Conflictology())
    told.release("22.0.12", "2022-12", "2022-12", 50)
    after = replace(told.stand(before.model), origin=before.origin)
    found = holds(before, after)
    assert "moving_window" in found.present
    assert parts(found, metric="escalation_probability").keys() <= {"moving_window"}


def test_stands_that_cannot_be_compared(told: Told) -> None:
    stand = told.stand()
    simulated = replace(stand.view, ingests=tuple(replace(i, simulated=True) for i in stand.view.ingests))
    for other, why in (
        (replace(stand, members=("NER", "MLI")), "countries"),
        (replace(stand, outcome="all"), "outcomes .*state_based and all"),
        (replace(stand, view=simulated), "data .*real and SIMULATED"),
    ):
        with pytest.raises(BadInput, match=why):
            attribute(stand, other)


def test_shapley_values_of_a_game_done_by_hand() -> None:
    """One left glove and two right ones: a pair is worth 1; the left one comes to 2/3, a right one to 1/6."""

    def pair(players: frozenset[str]) -> NDArray[np.float64]:
        return np.array([float("left" in players and bool({"right", "other right"} & players))])

    found = shapley_values(pair, ("left", "right", "other right", "idle"))
    assert [found[p][0] for p in found] == pytest.approx([2 / 3, 1 / 6, 1 / 6, 0], abs=1e-12)
    found = shapley_values(pair, ("left", "right", "other right"), {"left": ("right", "other right")})
    assert [found[p][0] for p in found] == pytest.approx([1, 0, 0], abs=1e-12), "who comes last completes the pair"


@given(st.lists(st.floats(-100, 100), min_size=16, max_size=16), st.permutations(range(4)))
def test_the_order_of_causes_does_not_matter(worths: list[float], order: list[int]) -> None:
    players = [CAUSES[i] for i in order]

    def value(some: frozenset[str]) -> NDArray[np.float64]:
        return np.array([worths[sum(1 << CAUSES.index(p) for p in some)]])

    one, other = shapley_values(value, players, PREDECESSORS), shapley_values(value, CAUSES[:4], PREDECESSORS)
    assert [one[p][0] for p in CAUSES[:4]] == pytest.approx([other[p][0] for p in CAUSES[:4]], abs=1e-9)
    assert sum(part[0] for part in one.values()) == pytest.approx(worths[15] - worths[0], abs=1e-9)


def test_every_cause_says_what_it_means() -> None:
    assert tuple(CAUSE_MEANINGS) == CAUSES
    assert all(text[language] for text in CAUSE_MEANINGS.values() for language in ("en", "fr"))


STEPS = ("late", "revised", "gone", "month", "straggler", "table", "withdrawn", "displaced", "model")


def step(told: Told, what: str, last: Month, taken: list[str], *, released: bool) -> Month:
    """Let one thing happen; returns the last month that events have told of."""
    release = f"21.{told.files + 2}" if released else None
    known = [n for n, row in told.rows.items() if row["date"][:7] <= str(last)]
    if what == "late":
        taken.append(told.tell([*known, *told.invent(last - 4, last, 2)], last - 6, last, release))
    elif what == "revised":
        for number in known[told.files :: 3]:
            told.rows[number]["best"] += 5
        taken.append(told.tell(known, last - 20, last, release))
    elif what == "gone":
        taken.append(told.tell(known[::2], last - 9, last, release))
    elif what == "month":
        last = last + 1
        taken.append(told.tell(told.invent(last, last, 3), last, last))
    elif what == "straggler":
        taken.append(told.tabulate(last + 1, last + 1, countries=("MLI",)))
    elif what == "table":
        taken.append(told.tabulate(last - 7, last - 2))
    elif what == "withdrawn" and taken:
        told.withdraw(taken.pop())
    elif what == "displaced":
        told.displaced()
    return last


@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(STEPS), max_size=3),
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_history_is_split_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, earlier: list[str], later: list[str], released: bool
) -> None:
    told, taken = Told(tmp_path_factory.mktemp("history"), seed), list[str]()
    told.tell(told.invent(FIRST, BEGUN, 1), FIRST, BEGUN, "20.1" if released else None)
    last = BEGUN
    for what in earlier:
        last = step(told, what, last, taken, released=released)
    before = told.stand()
    for what in later:
        last = step(told, what, last, taken, released=released)
    holds(before, told.stand(OTHER if "model" in later else MODEL))
