"""What tests of the service share: the application over a home, and on which database they run.

That is SQLite, or with `--database postgresql` PostgreSQL, for all of them.
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
    """A context in which whatever opens a store gets a fresh one: on SQLite its home's own, else one for all homes."""

    @contextmanager
    def fresh() -> Iterator[None]:
        if request.config.getoption("--database") == "sqlite":
            yield
            return
        server = request.getfixturevalue("postgresql")
        with server.database() as url, pytest.MonkeyPatch.context() as environment:
            environment.setenv("VIGIE_DATABASE_URL", url)
            yield

    return fresh


@pytest.fixture(scope="module")
def one_database(databases: Databases) -> Iterator[None]:
    """One database for a home that the tests of a module share: the fixture that makes the home asks for it."""
    with databases():
        yield


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[None]:
    """Each test has a fresh database, but for those over a home that is shared."""
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
    """The application over the home that the module makes."""
    return create_app(home.home, clock=clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
