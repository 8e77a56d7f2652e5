"""A past moment that no snapshot tells of: recomputed from what the archive knew then, by a model that knew no more."""

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


class Remembering:
    """A home whose archive has learned the deaths of three countries twice: in June 2024, and revised in June 2025."""

    def __init__(self, root: Path) -> None:
        self.home, self.folder = Home(root), root.parent
        root.mkdir(parents=True)
        self.home.settings.write_text("drivers = false\n")
        self.store = Store.of(self.home)
        self.first = self.take_in("24.1", "2023-12", 108)

    def take_in(self, release: str, last: str, months: int, times: float = 1) -> str:
        """A release, of which each country's deaths are so many times those of the first."""
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

    def answered(self, as_of: str) -> Any:
        """The answer about a past moment, once it is computed."""
        client = self.client()
        answer = client.get(f"/v1/scores?as_of={as_of}")
        if answer.status_code == 202:
            assert task_queue_runner(self.home, self.store)() == "ok"
            answer = client.get(f"/v1/scores?as_of={as_of}")
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Remembering:
    return Remembering(tmp_path_factory.mktemp("remembering") / "home")


@pytest.fixture(scope="module")
def before(remembering: Remembering) -> bytes:
    """What was said of July 2024 before anything later was known."""
    content: bytes = remembering.answered("2024-07-01").data
    return content


@pytest.fixture(scope="module")
def revised(remembering: Remembering, before: bytes) -> Iterator[str]:
    """The same archive, revised a year later; the id of the revision."""
    return remembering.take_in("25.1", "2024-12", 120, times=3)


def test_what_is_recomputed_learned_only_from_what_was_known(remembering: Remembering, before: bytes) -> None:
    said = json.loads(before)
    assert (said["basis"], said["snapshot_id"], said["issued_at"]) == ("recomputed", None, None)
    assert (said["origin"], said["status"], said["data_age_days"]) == ("2023-12", "stale", 183)
    assert said["computed_at"]
    assert said["vigie"]
    assert said["reasons"]["snapshot_id"] == "recomputed"
    [model] = remembering.home.as_of_models.glob(f"*/*/{bundle.MANIFEST_FILE}")
    learned = bundle.read_provenance(model.parent)
    assert (model.parent.name, learned.data_digest) == (
        said["model_id"],
        Archive(remembering.home.archive).view(datetime(2024, 7, 1, tzinfo=UTC)).digest,
    )
    assert not remembering.home.models.exists()
    with remembering.store.reading() as connection:
        assert connection.execute(sa.select(snapshots)).all() == []
    [task] = all_tasks(remembering.store)
    told = remembering.client().get(f"/v1/tasks/{task.id}").json["data"]
    assert (told["status"], told["result"], told["reasons"]["result"]) == ("done", None, "at_result_url")
    assert remembering.client().get(told["result_url"]).json["as_of"] == "2024-07-01T23:59:59Z"
    draws = remembering.client().get("/v1/forecasts/MLI?as_of=2024-07-01").json["data"]
    assert (draws["draws"]["csv"], draws["reasons"]["draws"]) == (None, "recomputed")


def test_moments_at_which_the_same_was_known_are_one_task(remembering: Remembering, before: bytes) -> None:
    number = len(all_tasks(remembering.store))
    other = remembering.client().get("/v1/scores?as_of=2025-02-03")
    assert (other.status_code, other.json["digest"]) == (200, json.loads(before)["digest"])
    assert (other.json["as_of"], other.json["data_age_days"]) == ("2025-02-03T23:59:59Z", 400)
    assert len(all_tasks(remembering.store)) == number


def test_what_is_learned_later_does_not_change_what_was_said(
    remembering: Remembering, before: bytes, revised: str
) -> None:
    answer = remembering.client().get("/v1/scores?as_of=2024-07-01")
    assert (answer.status_code, answer.data) == (200, before)
    after = remembering.answered("2025-07-01").json
    assert (after["origin"], after["digest"] == json.loads(before)["digest"]) == ("2024-12", False)
    Archive(remembering.home.archive).withdraw(revised, "an invented mistake", TODAY)
    assert remembering.client().get("/v1/scores?as_of=2024-07-01").data == before
    assert remembering.client().get("/v1/scores?as_of=2025-07-01").json["digest"] == after["digest"]


def test_the_command_says_the_same_in_the_foreground(
    remembering: Remembering,
    before: bytes,
    vigie: Callable[..., Any],
) -> None:
    said = vigie("--home", remembering.home.root, "scores", "--as-of", "2024-07-01", "--format", "json")
    assert said.code == 0, said.err
    assert json.loads(said.out) == json.loads(before)
    table = vigie("--home", remembering.home.root, "scores", "--as-of", "2024-07-01")
    assert "recomputed from the data known then" in " ".join(table.out.split())
    early = vigie("--home", remembering.home.root, "scores", "--as-of", "2020-07-01")
    assert (early.code, "since 2024-06-01" in early.err) == (3, True)
    future = vigie("--home", remembering.home.root, "scores", "--as-of", "2999-01-01")
    assert (future.code, "is past" in future.err) == (2, True)


def test_a_page_waits_for_what_is_computed(tmp_path: Path) -> None:
    client = Remembering(tmp_path / "home").client()
    waiting = client.get("/country/MLI?as_of=2024-07-01&lang=en")
    assert (waiting.status_code, waiting.headers["Refresh"]) == (202, "5")
    assert "Computation in progress" in waiting.text
    assert "Position in the queue: 1." in waiting.text
    assert "Calcul en cours" in client.get("/?as_of=2024-07-01&lang=fr").text


def test_what_cannot_be_computed_says_why(tmp_path: Path) -> None:
    home = Remembering(tmp_path / "home")
    Archive(home.home.archive).withdraw(home.first, "an invented mistake", TODAY)
    home.take_in("24.1", "2023-12", 30)
    client = home.client()
    assert client.get("/v1/scores?as_of=2026-07-26").status_code == 202
    task_queue_runner(home.home, home.store)()
    failed = client.get("/v1/scores?as_of=2026-07-26")
    said = json.loads(failed.data)
    assert (failed.status_code, said["type"]) == (503, "urn:vigie:problem:task-failed")
    assert "a model needs 200" in said["error"]
    assert failed.headers["Retry-After"] == "600"
    assert "a model needs 200" in client.get("/?as_of=2026-07-26").text
