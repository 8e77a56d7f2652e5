"""A past moment without a snapshot is recomputed from the data known at that moment, with a model of these data."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from test_tasks import all_tasks, task_queue_runner

from riskmodel import bundle
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.sources.monthly import MonthlyFile
from service.cli.app import create_app
from service.store.database import Store
from service.store.tables import snapshots

TODAY = datetime(2026, 7, 25, 12, tzinfo=UTC)


class RevisedHome:
    """A home with the deaths of three countries in two releases: of June 2024 and, revised, of June 2025."""

    def __init__(self, root: Path) -> None:
        self.home, self.folder = Home(root), root.parent
        root.mkdir(parents=True)
        self.home.settings.write_text("drivers = false\n")
        self.store = Store.of(self.home)
        self.first = self.ingest_release("24.1", "2023-12", 108)

    def ingest_release(self, release: str, last: str, months: int, times: float = 1) -> str:
        """Ingest a release whose deaths are those of the first, multiplied by `times`."""
        lines = ["iso3,month,deaths_state_based"]
        for place, iso3 in enumerate(("MLI", "BFA", "NER")):
            deaths = np.random.default_rng(place).poisson(3 + 20 * place, months)
            when = np.arange(month(last) - months + 1, month(last) + 1)
            lines += [f"{iso3},{m},{int(times * d)}" for m, d in zip(when, deaths, strict=True)]
        path = self.folder / f"{release}-{times}.csv"
        path.write_text("\n".join(lines) + "\n")
        return ingest(Archive(self.home.archive), MonthlyFile(path), release=release, now=TODAY).ingest.id

    def client(self) -> FlaskClient:
        return create_app(self.home).test_client()

    def response(self, as_of: str) -> Any:
        """Return the response about a past moment, after it was computed."""
        client = self.client()
        response = client.get(f"/v1/scores?as_of={as_of}")
        if response.status_code == 202:
            assert task_queue_runner(self.home, self.store)() == "ok"
            response = client.get(f"/v1/scores?as_of={as_of}")
        assert response.status_code == 200, response.text
        return response


@pytest.fixture(scope="module")
def revised_home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> RevisedHome:
    return RevisedHome(tmp_path_factory.mktemp("revised_home") / "home")


@pytest.fixture(scope="module")
def before(revised_home: RevisedHome) -> bytes:
    """The response about July 2024 before anything later was known."""
    content: bytes = revised_home.response("2024-07-01").data
    return content


@pytest.fixture(scope="module")
def revised(revised_home: RevisedHome, before: bytes) -> Iterator[str]:
    """The id of an ingest that revised the same archive a year later."""
    return revised_home.ingest_release("25.1", "2024-12", 120, times=3)


def test_a_recomputed_snapshot_uses_only_what_was_known(revised_home: RevisedHome, before: bytes) -> None:
    payload = json.loads(before)
    assert (payload["basis"], payload["snapshot_id"], payload["issued_at"]) == ("recomputed", None, None)
    assert (payload["origin"], payload["status"], payload["data_age_days"]) == ("2023-12", "stale", 183)
    assert payload["computed_at"]
    assert payload["vigie"]
    assert payload["reasons"]["snapshot_id"] == "recomputed"
    [model] = revised_home.home.as_of_models.glob(f"*/*/{bundle.MANIFEST_FILE}")
    provenance = bundle.read_provenance(model.parent)
    assert (model.parent.name, provenance.data_digest) == (
        payload["model_id"],
        Archive(revised_home.home.archive).view(datetime(2024, 7, 1, tzinfo=UTC)).digest,
    )
    assert not revised_home.home.models.exists()
    with revised_home.store.reading() as connection:
        assert connection.execute(sa.select(snapshots)).all() == []
    [task] = all_tasks(revised_home.store)
    shown_task = revised_home.client().get(f"/v1/tasks/{task.id}").json["data"]
    assert (shown_task["status"], shown_task["result"], shown_task["reasons"]["result"]) == (
        "done",
        None,
        "at_result_url",
    )
    assert revised_home.client().get(shown_task["result_url"]).json["as_of"] == "2024-07-01T23:59:59Z"
    draws = revised_home.client().get("/v1/forecasts/MLI?as_of=2024-07-01").json["data"]
    assert (draws["draws"]["csv"], draws["reasons"]["draws"]) == (None, "recomputed")


def test_moments_with_the_same_known_data_are_one_task(revised_home: RevisedHome, before: bytes) -> None:
    number = len(all_tasks(revised_home.store))
    other = revised_home.client().get("/v1/scores?as_of=2025-02-03")
    assert (other.status_code, other.json["digest"]) == (200, json.loads(before)["digest"])
    assert (other.json["as_of"], other.json["data_age_days"]) == ("2025-02-03T23:59:59Z", 400)
    assert len(all_tasks(revised_home.store)) == number


@pytest.mark.long
def test_later_data_do_not_change_the_response(revised_home: RevisedHome, before: bytes, revised: str) -> None:
    response = revised_home.client().get("/v1/scores?as_of=2024-07-01")
    assert (response.status_code, response.data) == (200, before)
    after = revised_home.response("2025-07-01").json
    assert (after["origin"], after["digest"] == json.loads(before)["digest"]) == ("2024-12", False)
    Archive(revised_home.home.archive).withdraw(revised, "an invented mistake", TODAY)
    assert revised_home.client().get("/v1/scores?as_of=2024-07-01").data == before
    assert revised_home.client().get("/v1/scores?as_of=2025-07-01").json["digest"] == after["digest"]


def test_the_command_computes_the_same_in_the_foreground(
    revised_home: RevisedHome,
    before: bytes,
    vigie: Callable[..., Any],
) -> None:
    result = vigie("--home", revised_home.home.root, "scores", "--as-of", "2024-07-01", "--format", "json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == json.loads(before)
    table = vigie("--home", revised_home.home.root, "scores", "--as-of", "2024-07-01")
    assert "recomputed from the data known then" in " ".join(table.out.split())
    early = vigie("--home", revised_home.home.root, "scores", "--as-of", "2020-07-01")
    assert (early.code, "since 2024-06-01" in early.err) == (3, True)
    future = vigie("--home", revised_home.home.root, "scores", "--as-of", "2999-01-01")
    assert (future.code, "is past" in future.err) == (2, True)


def test_a_page_waits_for_the_computation(tmp_path: Path) -> None:
    client = RevisedHome(tmp_path / "home").client()
    waiting = client.get("/country/MLI?as_of=2024-07-01&lang=en")
    assert (waiting.status_code, waiting.headers["Refresh"]) == (202, "5")
    assert "Computation in progress" in waiting.text
    assert "Position in the queue: 1." in waiting.text
    assert "Calcul en cours" in client.get("/?as_of=2024-07-01&lang=fr").text


def test_a_failed_computation_says_why(tmp_path: Path) -> None:
    home = RevisedHome(tmp_path / "home")
    Archive(home.home.archive).withdraw(home.first, "an invented mistake", TODAY)
    home.ingest_release("24.1", "2023-12", 30)
    client = home.client()
    assert client.get("/v1/scores?as_of=2026-07-26").status_code == 202
    task_queue_runner(home.home, home.store)()
    failed = client.get("/v1/scores?as_of=2026-07-26")
    payload = json.loads(failed.data)
    assert (failed.status_code, payload["type"]) == (503, "urn:vigie:problem:task-failed")
    assert "a model needs 200" in payload["error"]
    assert failed.headers["Retry-After"] == "600"
    assert "a model needs 200" in client.get("/?as_of=2026-07-26").text
