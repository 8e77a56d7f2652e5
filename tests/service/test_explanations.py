"""Explanations that cannot have changed are taken from the snapshot in service, and are those of a full computation."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from recompute_support import COUNTRIES, LONG_AFTER, OperatedHome

from riskmodel.bands import DEFAULT_BANDS
from riskmodel.events.archive import Archive
from riskmodel.explanation import drivers, neighbour_effects
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY
from riskmodel.home import Home
from service.jobs import snapshot_content
from service.jobs.served_models import ServedModels
from service.snapshots.outcome_parts import of_outcome
from service.store.values import canonical

BACKGROUNDS = set(drivers.BACKGROUNDS)
NOW = datetime.fromisoformat("2026-02-01T08:00:00Z")


@pytest.fixture
def operated(home: Home) -> OperatedHome:
    return OperatedHome.ready(home)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What recomputes have computed: backgrounds by country, and how often neighbour effects."""
    record: dict[str, Any] = {"drivers": {}, "neighbour_effects": 0}
    compute, compute_effects = drivers.compute, neighbour_effects.compute

    def recorded(model: Any, assessment: Any, wanted: Callable[[str, str], bool]) -> Any:
        result = compute(model, assessment, wanted)
        record["drivers"] = {iso3: set(splits) for iso3, splits in result.items() if splits}
        return result

    def recorded_effects(*arguments: Any) -> Any:
        record["neighbour_effects"] += 1
        return compute_effects(*arguments)

    monkeypatch.setattr(drivers, "compute", recorded)
    monkeypatch.setattr(neighbour_effects, "compute", recorded_effects)
    return record


def check_is_that_of_a_full_computation(operated: OperatedHome) -> None:
    """The explanations of the newest snapshot are those of a home that never had another one."""
    view = Archive(operated.home.archive).view()
    models = ServedModels.of_home(operated.home, simulated=False).of_view(view, operated.settings.region)
    full = of_outcome(snapshot_content.build(view, models, operated.settings).document)
    issued = operated.newest_document
    for document in (full, issued):
        assert document["neighbour_effects"]["pairs"]
    for part in ("neighbour_effects", "explanation_digests"):
        assert canonical(full[part]) == canonical(issued[part])
    for one, other in zip(full["countries"], issued["countries"], strict=True):
        assert canonical({"drivers": one["drivers"]}) == canonical({"drivers": other["drivers"]})


def test_other_bands_change_no_explanation(operated: OperatedHome, computed: dict[str, Any]) -> None:
    assert operated.run(NOW).issued
    assert computed == {"drivers": dict.fromkeys(COUNTRIES, BACKGROUNDS), "neighbour_effects": 1}
    bands = {**DEFAULT_BANDS, "low": 12.5}
    assert operated.run(NOW, operated.settings.model_copy(update={"bands": bands})).issued
    assert computed == {"drivers": {}, "neighbour_effects": 1}
    check_is_that_of_a_full_computation(operated)


def test_new_deaths_in_one_country_leave_the_own_year_of_distant_ones(
    operated: OperatedHome, computed: dict[str, Any]
) -> None:
    operated.run(NOW)
    later = LONG_AFTER + timedelta(days=1)
    operated.ingest_months("2021-12", known_since=later, MLI=[30] * 12, CIV=[0] * 11 + [40])
    assert operated.run(NOW).issued
    assert computed["drivers"]["CIV"] == BACKGROUNDS
    assert any(backgrounds == {"region"} for backgrounds in computed["drivers"].values())
    assert computed["neighbour_effects"] == 2
    check_is_that_of_a_full_computation(operated)


def test_another_model_changes_every_explanation(operated: OperatedHome, computed: dict[str, Any]) -> None:
    operated.run(NOW)
    operated.put_model(SMOOTHED_HISTORY)
    assert operated.run(NOW).issued
    assert computed == {"drivers": dict.fromkeys(COUNTRIES, BACKGROUNDS), "neighbour_effects": 2}
    check_is_that_of_a_full_computation(operated)


def test_explanations_that_were_switched_off_are_computed_again(
    operated: OperatedHome, computed: dict[str, Any]
) -> None:
    operated.run(NOW)
    assert operated.run(NOW, operated.settings.model_copy(update={"drivers": False})).issued
    assert operated.run(NOW).issued
    assert computed == {"drivers": dict.fromkeys(COUNTRIES, BACKGROUNDS), "neighbour_effects": 2}
    check_is_that_of_a_full_computation(operated)
