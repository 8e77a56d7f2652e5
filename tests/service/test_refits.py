"""A year of months, ingested one by one: models are refitted, and scores move."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from riskmodel import bundle
from riskmodel.home import Home
from riskmodel.months import Month, month
from service.jobs.bootstrap import prepare
from service.jobs.job_run import JobFailed
from service.settings import load
from service.store.context import Context
from service.store.database import Store
from training import registry


@pytest.mark.long
def test_a_year_of_simulated_months_brings_refits_and_moves_scores(
    home: Home, vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIE_REFIT", "yearly")
    commands, scores = list[str](), dict[Month, list[float]]()

    def run_vigie(*arguments: str, deadline: float) -> None:
        commands.append(arguments[0])
        if (done := vigie(*arguments)).code:
            raise JobFailed(done.err)

    def take_in(until: Month) -> None:
        """Do what the scheduler does when a month comes in, up to the run after which nothing is due."""
        assert vigie("ingest", "simulated", "--until", until).code == 0
        known_at = datetime.fromisoformat(f"{until + 1}-20").replace(tzinfo=UTC)
        context = Context(home, load(home), Store.of(home), lambda: known_at)
        while prepare(context, print, run_vigie):
            pass
        shown = json.loads(vigie("scores", "--format", "json").out)
        assert shown["origin"] == str(until)
        scores[until] = [row["risk_score"] for row in shown["data"]]

    first = month("2019-12")
    take_in(first)
    for until in np.arange(first + 1, first + 13):
        take_in(until)
    assert commands.count("train") == 2, "the first model, and its refit with the December"
    monkeypatch.setenv("VIGIE_REFIT", "monthly")
    take_in(first + 13)
    assert commands.count("train") == 3

    entries = registry.read_journal(home.models)
    assert [entry.action for entry in entries] == ["first", "refit", "refit"]
    assert [bundle.read_provenance(home.models / entry.model).origin for entry in entries] == [
        "2019-12",
        "2020-12",
        "2021-01",
    ]
    assert [entry.windows for entry in entries] == [(), ("2020-01..2020-12",), ("2021-01..2021-01",)]
    assert all(earlier != later for earlier, later in pairwise(scores.values())), "each month moves a score"
    history = json.loads(vigie("models", "--format", "json").out)
    [served] = [row for row in history if row["in_service"]]
    assert (served["refit"]["age_months"], served["refit"]["due_month"]) == (0, "2021-02")
