"""Fixtures for the tests of the service: the application over a home.

The database is SQLite, or PostgreSQL with `--database postgresql`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from servers import web
from snapshots_support import SettableClock, SnapshotHome, full_home

from riskmodel.home import Home
from service.cli.app import create_app
from service.http import keys
from service.store.database import Store

Databases = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session", autouse=True)
def one_outcome() -> Iterator[None]:
    """Homes get a model of one outcome and no hindcast: both take long. Tests of these remove the settings."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VIGIE_OUTCOMES", '["state_based"]')
        environment.setenv("VIGIE_REFIT", "off")
        environment.setenv("VIGIE_HINDCAST_MONTHS", "0")
        yield


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Databases:
    """A context in which every store is empty: on SQLite one for each home, on PostgreSQL one for all homes."""

    @contextmanager
    def empty() -> Iterator[None]:
        if request.config.getoption("--database") == "sqlite":
            yield
            return
        server = request.getfixturevalue("postgresql")
        with server.database() as url, pytest.MonkeyPatch.context() as environment:
            environment.setenv("VIGIE_DATABASE_URL", url)
            yield

    return empty


@pytest.fixture(scope="module")
def one_database(databases: Databases) -> Iterator[None]:
    """One database for a module. A module-scoped fixture that makes a home must request it."""
    with databases():
        yield


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[None]:
    """An empty database for each test, except for tests of a shared home."""
    if "one_database" in request.fixturenames:
        yield
        return
    with databases():
        yield


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Iterator[Store]:
    """One store for a module: making one takes long. Its tests empty it."""
    store = Store.of(Home(tmp_path_factory.mktemp("shared")))
    yield store
    store.engine.dispose()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def app(home: SnapshotHome, clock: SettableClock) -> Flask:
    """The application over the home that the test module defines."""
    return create_app(home.home, clock=clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that end after one second."""
    monkeypatch.setenv("VIGIE_STREAM_SECONDS", "1")


@pytest.fixture
def live_server(tmp_path: Path, short_streams: None) -> Iterator[tuple[str, str]]:
    """The URL of `vigie web` over a home with rows for every endpoint, and a key that can write."""
    home = full_home(tmp_path / "home")
    home.run("unchanged", at=datetime.now(UTC), snapshot=3)
    key = keys.add(home.store, "write", "a test", datetime.now(UTC))
    with web(home) as url:
        yield url, key
