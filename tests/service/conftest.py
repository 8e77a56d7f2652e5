"""Fixtures for the tests of the service: the application over a home.

The database is SQLite, or PostgreSQL with `--database postgresql`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from flask import Flask
from flask.testing import FlaskClient
from issued import Clock, Issuer

from service.cli.app import create_app

Databases = Callable[[], AbstractContextManager[None]]


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


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(home: Issuer, clock: Clock) -> Flask:
    """The application over the home that the test module defines."""
    return create_app(home.home, clock=clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
