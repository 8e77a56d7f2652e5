"""What one request reads: a database session, the settings, the time, and whether the data are simulated."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask, current_app, g

from riskmodel.events.manifest import realm
from riskmodel.home import Home
from riskmodel.moments import parse_past_moment
from riskmodel.refits import RefitState
from service.http import state_version
from service.http.problems import Problem
from service.settings import Settings
from service.snapshots import as_of as past
from service.snapshots import hindcast_view, refit_view, snapshot_view
from service.snapshots.snapshot_view import SnapshotView
from service.store import task_queue
from service.store.context import Context
from service.store.values import instant


class TaskRequired(Exception):
    """Ends a request whose response must first be computed by a task."""

    def __init__(self, question: task_queue.TaskRequest) -> None:
        super().__init__(question.kind)
        self.question = question


@dataclass(frozen=True)
class ReadSession:
    """One request's view of the data. `simulated` is None while the archive is empty."""

    connection: sa.Connection
    settings: Settings
    simulated: bool | None
    now: datetime
    home: Home

    def find_served(self, outcome: str | None = None) -> SnapshotView | None:
        """Return an outcome of the snapshot in service, or None. Real data retire all simulated snapshots.

        The outcome is by default the headline. Raises OutcomeMissing if the snapshot does not have it.
        """
        if self.simulated is None:
            return None
        return snapshot_view.in_service(
            self.connection, self.settings, simulated=self.simulated, now=self.now, outcome=outcome
        )

    def served(self, as_of: str | None = None, outcome: str | None = None, *, hindcast: bool = False) -> SnapshotView:
        """Return an outcome of the snapshot in service, by default the headline, now or at a past moment.

        `hindcast` says that a hindcast may answer for a past moment at which no snapshot had been issued. Raises
        Problem where there is no snapshot, OutcomeMissing where it does not have the outcome, and TaskRequired where a
        past one must be computed.
        """
        if as_of is not None:
            return self._served_as_of(as_of, outcome, hindcast=hindcast)
        if (found := self.find_served(outcome)) is not None:
            return found
        if self.simulated is None:
            raise Problem("no-data")
        raise Problem("no-snapshot" if self.simulated else "no-real-snapshot")

    def refits(self) -> dict[str, RefitState]:
        """Return whether each model behind the snapshot in service is due to be refitted, by outcome."""
        headline = self.find_served()
        outcomes = headline.document["available_outcomes"] if headline else ()
        found = ((outcome, self.find_served(outcome)) for outcome in outcomes)
        return {
            outcome: refit_view.refit_of(self.home, self.settings, view.document)
            for outcome, view in found
            if view is not None
        }

    def parse_as_of(self, as_of: str) -> datetime:
        """Return the past moment that a query names. Raises Problem if it is not one."""
        try:
            return parse_past_moment(as_of, self.now)
        except ValueError as rule:
            raise Problem("bad-query", parameter="as_of", rule=str(rule)) from None

    def stored_at(self, when: datetime, outcome: str | None) -> SnapshotView:
        """Return the snapshot in service at a past moment, else the hindcast of it.

        Raises Problem if there is neither, and OutcomeMissing.
        """
        found = self._stored_at(when, outcome, hindcast=True)
        if found is None:
            raise Problem("nothing-issued", as_of=instant(when))
        return found

    def _stored_at(self, when: datetime, outcome: str | None, *, hindcast: bool) -> SnapshotView | None:
        at: dict[str, Any] = {"simulated": bool(self.simulated), "moment": when, "outcome": outcome}
        issued = past.issued_snapshot(self.connection, self.settings, **at)
        if issued is not None or not hindcast:
            return issued
        return hindcast_view.hindcast_at(self.connection, self.settings, **at)

    def _served_as_of(self, as_of: str, outcome: str | None, *, hindcast: bool) -> SnapshotView:
        """Return the snapshot issued by then, else its hindcast or a stored recomputation. Raises TaskRequired."""
        when = self.parse_as_of(as_of)
        if self.simulated is None:
            raise Problem("no-data")
        stored = self._stored_at(when, outcome, hindcast=hindcast)
        if stored is not None:
            return stored
        try:
            question = past.recompute_request(self.home, self.settings, when, simulated=self.simulated, outcome=outcome)
        except past.NothingKnown as nothing:
            raise Problem("nothing-known", as_of=as_of, since=instant(nothing.since)) from None
        done = task_queue.find_done(self.connection, question)
        if done is None:
            raise TaskRequired(question)
        return past.recomputed_snapshot(done, self.settings, when)

    def meta(self, served: SnapshotView | None) -> dict[str, object]:
        """Return the fields that every payload carries. They are null where there is no snapshot."""
        if served is not None:
            return snapshot_view.meta(served)
        next_run_at = snapshot_view.next_run_at(self.connection, self.settings)
        return snapshot_view.meta_without_snapshot(self.settings, next_run_at, simulated=self.simulated)


@contextmanager
def request_session() -> Iterator[ReadSession]:
    """Open a session for the current request, and note the state that its response depends on."""
    context = current_context()
    # Look at the files before reading anything from them, so that the noted state is never newer than the data.
    files = state_version.file_versions(context.home)
    with open_session(context) as session:
        # Only the first session counts: a later one reads data that are at least as new.
        if "state_version" not in g:
            g.state_version = state_version.read(session.connection, files, context.settings, session.now)
        yield session


@contextmanager
def open_session(context: Context) -> Iterator[ReadSession]:
    """Open a session outside a request, or one whose response is not cached."""
    data_realm = realm(context.home.archive)
    with context.store.reading() as connection:
        simulated = None if data_realm is None else data_realm == "simulated"
        yield ReadSession(connection, context.settings, simulated, context.clock(), context.home)


def attach(app: Flask, context: Context) -> None:
    """Give an application its context."""
    app.extensions["vigie"] = context


def context_of(app: Flask) -> Context:
    """Return the context of an application."""
    return cast(Context, app.extensions["vigie"])


def current_context() -> Context:
    """Return the context of the application that handles the current request."""
    return context_of(current_app)
