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
from service import marks, payloads
from service.api.problems import Problem
from service.settings import Settings
from service.store.database import Store


@dataclass(frozen=True)
class Parts:
    """What the app is made of; the clock gives the present in UTC, `places` are for those who wait for news."""

    home: Home
    settings: Settings
    store: Store
    clock: Callable[[], datetime]
    places: BoundedSemaphore


@dataclass(frozen=True)
class Reading:
    """One request's view. `simulated` says which realm is in service; None where the archive is empty."""

    store: Store
    connection: sa.Connection
    settings: Settings
    simulated: bool | None
    now: datetime

    def find(self) -> payloads.Served | None:
        """The snapshot in service, if there is one: real data retire all that is simulated."""
        if self.simulated is None:
            return None
        return payloads.served(self.connection, self.settings, simulated=self.simulated, now=self.now)

    def served(self) -> payloads.Served:
        """The snapshot in service; ends the request with the reason where there is none."""
        if (found := self.find()) is not None:
            return found
        if self.simulated is None:
            raise Problem("no-data")
        raise Problem("no-snapshot" if self.simulated else "no-real-snapshot")

    def meta(self, served: payloads.Served | None) -> dict[str, object]:
        """What every payload carries, null where there is no snapshot."""
        if served is not None:
            return payloads.meta(served)
        then = payloads.next_run_at(self.connection, self.settings)
        return payloads.no_meta(self.settings, then, simulated=self.simulated)


@contextmanager
def reading() -> Iterator[Reading]:
    """Open one reading for the current request; its marks say what the answer depends on."""
    parts = of_app()
    files = marks.files(parts.home)
    with read(parts) as sight:
        if "marks" not in g:  # of the first reading: nothing that a later one says is older
            g.marks = marks.read(sight.connection, files, parts.settings, sight.now)
        yield sight


@contextmanager
def read(parts: Parts) -> Iterator[Reading]:
    """Open one reading, whatever it is for."""
    held = realm(parts.home.archive)
    with parts.store.reading() as connection:
        yield Reading(parts.store, connection, parts.settings, held and held == "simulated", parts.clock())


def of_app() -> Parts:
    """What the current app is made of."""
    return cast(Parts, current_app.extensions["vigie"])
