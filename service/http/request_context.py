"""What one request reads: the store in one state, the realm of the archive, the settings, one moment of the clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import cast

import sqlalchemy as sa
from flask import current_app, g

from riskmodel.events.manifest import realm
from riskmodel.home import Home
from riskmodel.moments import past as past_moment
from service.http import state_version
from service.http.problems import Problem
from service.settings import Settings
from service.snapshots import as_of as past
from service.snapshots import read_model
from service.store import task_queue
from service.store.database import Store
from service.store.values import instant


@dataclass(frozen=True)
class Parts:
    """What the app is made of; the clock gives the present in UTC, `places` are for those who wait for news."""

    home: Home
    settings: Settings
    store: Store
    clock: Callable[[], datetime]
    places: BoundedSemaphore


class Wanted(Exception):
    """Ends a request with a task: its answer has to be computed first."""

    def __init__(self, question: task_queue.Question) -> None:
        super().__init__(question.kind)
        self.question = question


@dataclass(frozen=True)
class Reading:
    """One request's view. `simulated` says which realm is in service; None where the archive is empty."""

    connection: sa.Connection
    settings: Settings
    simulated: bool | None
    now: datetime
    home: Home

    def find(self) -> read_model.Served | None:
        """The snapshot in service, if there is one: real data retire all that is simulated."""
        if self.simulated is None:
            return None
        return read_model.served(self.connection, self.settings, simulated=self.simulated, now=self.now)

    def served(self, as_of: str | None = None) -> read_model.Served:
        """The snapshot in service, now or at a past moment; ends the request with the reason where there is none."""
        if as_of is not None:
            return self._then(as_of)
        if (found := self.find()) is not None:
            return found
        if self.simulated is None:
            raise Problem("no-data")
        raise Problem("no-snapshot" if self.simulated else "no-real-snapshot")

    def moment(self, as_of: str) -> datetime:
        """The past moment that is asked for. Ends the request with the rule where it is none."""
        try:
            return past_moment(as_of, self.now)
        except ValueError as rule:
            raise Problem("bad-query", parameter="as_of", rule=str(rule)) from None

    def issued(self, when: datetime) -> read_model.Served:
        """The snapshot in service at a past moment. Ends the request where none was."""
        found = past.issued(self.connection, self.settings, simulated=bool(self.simulated), when=when)
        if found is None:
            raise Problem("nothing-issued", as_of=instant(when))
        return found

    def _then(self, as_of: str) -> read_model.Served:
        """What was issued by then, or is recomputed; ends the request with a task where it is still to be computed."""
        when = self.moment(as_of)
        if self.simulated is None:
            raise Problem("no-data")
        issued = past.issued(self.connection, self.settings, simulated=self.simulated, when=when)
        if issued is not None:
            return issued
        try:
            question = past.question(self.home, self.settings, when, simulated=self.simulated)
        except past.NothingKnown as nothing:
            raise Problem("nothing-known", as_of=as_of, since=instant(nothing.since)) from None
        done = task_queue.answered(self.connection, question)
        if done is None:
            raise Wanted(question)
        return past.recomputed(done, self.settings, when)

    def meta(self, served: read_model.Served | None) -> dict[str, object]:
        """What every payload carries, null where there is no snapshot."""
        if served is not None:
            return read_model.meta(served)
        then = read_model.next_run_at(self.connection, self.settings)
        return read_model.no_meta(self.settings, then, simulated=self.simulated)


@contextmanager
def reading() -> Iterator[Reading]:
    """Open one reading for the current request; its marks say what the answer depends on."""
    parts = of_app()
    files = state_version.files(parts.home)
    with read(parts) as sight:
        if "marks" not in g:  # of the first reading: nothing that a later one says is older
            g.marks = state_version.read(sight.connection, files, parts.settings, sight.now)
        yield sight


@contextmanager
def read(parts: Parts) -> Iterator[Reading]:
    """Open one reading, whatever it is for."""
    held = realm(parts.home.archive)
    with parts.store.reading() as connection:
        yield Reading(connection, parts.settings, held and held == "simulated", parts.clock(), parts.home)


def of_app() -> Parts:
    """What the current app is made of."""
    return cast(Parts, current_app.extensions["vigie"])
