"""The journal of service: shadow and rollback, and models that were in service before it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from riskmodel import bundle
from riskmodel.errors import Refused
from riskmodel.forecasting.baselines import Zero
from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]
InService = Callable[[], str]


def test_a_rollback_finds_a_model_that_served_before_the_journal(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    vigie("train", "--model", "promoted:vague")
    (home.models / registry.JOURNAL_FILE).unlink()
    before = in_service()
    vigie("train", "--model", "promoted:seer")
    assert in_service() != before
    assert f"{before} is in service again" in vigie("rollback").out


def test_a_journal_that_cannot_be_read_is_refused_with_the_way_out(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    vigie("train", "--model", "promoted:vague")
    journal = home.models / registry.JOURNAL_FILE
    journal.write_text('{"how": "first"}\n', encoding="utf-8")
    with pytest.raises(Refused, match="cannot be read; move it away"):
        registry.read_journal(home.models)
    journal.rename(workshop / "old-journal")
    assert vigie("promote", in_service(), "--force", "a new journal").code == 0


def test_the_shadow_changes_neither_the_service_nor_the_way_back(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    vigie("train", "--model", "promoted:vague")
    first = in_service()
    assert "vigie shadow" in vigie("train", "--model", "promoted:zero").out, (
        "a model that does not pass can run in the shadow"
    )
    zero = next(name for name in registry.model_names(home.models) if name != first)
    assert vigie("shadow", zero, "--why", "a trial").code == 0
    assert (in_service(), bundle.challenger(home.models, simulated=False, outcome="state_based")) == (
        first,
        home.models / zero,
    )
    listed = {row["model"]: row for row in registry.list_models(home.models)}
    assert [(listed[name]["in_service"], listed[name]["in_shadow"]) for name in (first, zero)] == [
        (True, False),
        (False, True),
    ]
    assert listed[zero]["promoted"] is None
    assert vigie("rollback").code == Refused.exit_code, "a model in the shadow was not in service"
    assert vigie("promote", zero, "--force", "to see").code == 0
    assert bundle.challenger(home.models, simulated=False, outcome="state_based") is None, (
        "a model in service leaves the shadow"
    )
    assert vigie("rollback").code == 0
    assert in_service() == first
    actions = [(entry.action, entry.reason) for entry in registry.read_journal(home.models)]
    assert actions == [("first", ""), ("shadow", "a trial"), ("force", "to see"), ("rollback", "")]


def test_a_model_of_simulated_data_cannot_shadow_one_of_real_data(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    vigie("train", "--model", "promoted:vague")
    provenance = bundle.read_provenance(home.models / in_service())
    other = bundle.save(Zero(), replace(provenance, simulated=True), home.models)
    refused = vigie("shadow", other)
    assert (refused.code, "the archive has real data, the model had not" in refused.err) == (Refused.exit_code, True)
    assert vigie("shadow", other, "--off").code == 2
