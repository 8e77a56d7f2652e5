"""A WSGI wrapper that answers what was asked before from bytes it keeps, ahead of Flask's routing.

The bytes are what Flask answered under the present marks (`service.http.state_version`). A watcher looks at the marks
several times a second; as soon as they move, a new and empty table of answers takes the place of the old one in one
assignment, and is filled again with what was in use. So an answer is of the old state or of the new one, whole. What
Flask answers
directly is held against the marks too, and workers of one machine share a count of such turns: whoever has seen the
new state once never sees the old one again. It knows nothing of what answers say, but for the age of the data.
"""

import fcntl
import json
import logging
import mmap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast
from wsgiref.util import setup_testing_defaults

import sqlalchemy as sa
from flask import Flask

from service.http import conditional, state_version
from service.http.conditional import Dated
from service.http.request_context import context_of
from service.http.state_version import Marks
from service.snapshots.snapshot_view import SnapshotView

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("vigie.polling")

LOOK_EVERY = 0.1
"""How often the watcher looks at the marks [s]."""

ROOM = 8 * 2**20
"""How many bytes of answers are kept [bytes]; those that nobody has asked for the longest make room for others."""

LARGEST = ROOM // 32
"""What is larger is answered by Flask each time [bytes]."""

WANTED_FOR = 600.0
"""How long after it was last asked for an answer is made anew without being asked for [s]."""

LAID_BY = "vigie.laid_by"
"""Where in a request's environment the kept answer lies that was found for it before."""

LOCKS = 64

READING = ("GET", "HEAD")

ASKED = 2
"""How many parts of a key are there in every request: path and query. No answer depends on the host that is named."""

Headers = list[tuple[str, str]]
Key = tuple[str, ...]


class _Made(NamedTuple):
    """The headers of an answer, in its three forms, from one moment until another."""

    since: datetime
    until: datetime
    modified: str | None
    plain: Headers
    coded: Headers
    unchanged: Headers


NEVER = _Made(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), None, [], [], [])


class Wanted(NamedTuple):
    """What somebody may well ask for again: an answer without its bytes."""

    key: Key
    vary: tuple[str, ...]
    used: float


class Answer:
    """One answer as it is kept: its body plain and compressed, and its headers."""

    def __init__(self, environ: "WSGIEnvironment", headers: Headers, body: bytes, marks: Marks) -> None:
        told = {name.lower(): value for name, value in headers}
        kind = told["content-type"].partition(";")[0]
        self.headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        self.vary = tuple(
            f"HTTP_{name.strip().upper().replace('-', '_')}"
            for name in told.get("vary", "").split(",")
            if name.strip() and name.strip().lower() != "accept-encoding"
        )
        self.key = (*_asked(environ), *(environ.get(name, "") for name in self.vary))
        self.body, self.tag, self.used = body, told["etag"], time.monotonic()
        self.dated = Dated(marks, page=kind == "text/html")
        self.coded = conditional.thin(body) if kind in conditional.THIN else None
        self._made = NEVER

    @property
    def size(self) -> int:
        """What it takes to keep it [bytes]."""
        return len(self.body) + len(self.coded or b"")

    def give(self, environ: "WSGIEnvironment", start: "StartResponse", now: datetime) -> list[bytes]:
        """Answer a request with it."""
        made = self._made
        if not made.since <= now < made.until:
            made = self._made = self._make(now)
        if conditional.unchanged(environ, self.tag, made.modified):
            start("304 NOT MODIFIED", made.unchanged)
            return []
        coded = self.coded is not None and conditional.takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
        start("200 OK", made.coded if coded else made.plain)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return [cast(bytes, self.coded) if coded else self.body]

    def _make(self, now: datetime) -> "_Made":
        """The headers as they are for this second."""
        self.used = time.monotonic()
        second = now.replace(microsecond=0)
        control = [("Cache-Control", self.dated.cache_control(now))]
        modified = self.dated.last_modified(now)
        both = control if modified is None else [*control, ("Last-Modified", modified)]
        return _Made(
            since=second,
            until=second + timedelta(seconds=1),
            modified=modified,
            plain=[*self.headers, ("Content-Length", str(len(self.body))), *both],
            coded=[*self.headers, ("Content-Encoding", "gzip"), ("Content-Length", str(len(self.coded or b""))), *both],
            unchanged=[*conditional.without_body(self.headers), *control],
        )


class Table:
    """The answers of one state of the marks. `turn` is the shared count that it was known to be newest at."""

    def __init__(self, marks: Marks | None, turn: bytes) -> None:
        self.marks, self.turn = marks, turn
        self.answers: dict[Key, Answer] = {}
        self.vary: dict[Key, tuple[str, ...]] = {}
        self.size = 0
        self._keeping = threading.Lock()

    def find(self, environ: "WSGIEnvironment") -> Answer | None:
        """The kept answer to a request, by all that Flask says it varies with."""
        asked = _asked(environ)
        vary = self.vary.get(asked)
        return None if vary is None else self.answers.get((*asked, *[environ.get(name, "") for name in vary]))

    def keep(self, answer: Answer) -> None:
        """Keep an answer, if it is not too large."""
        if answer.size > LARGEST:
            return
        with self._keeping:
            self.vary[answer.key[:ASKED]] = answer.vary
            if (before := self.answers.get(answer.key)) is not None:
                self.size -= before.size
            self.answers[answer.key] = answer
            self.size += answer.size
            while self.size > ROOM:
                oldest = min(self.answers.values(), key=lambda kept: kept.used)
                self.size -= self.answers.pop(oldest.key).size


class Turns:
    """How often the workers of one machine have seen something new, in a file that they all look into."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        if path.stat().st_size < 8:
            self._file.truncate(8)
        self._memory = mmap.mmap(self._file.fileno(), 8)

    def seen(self) -> bytes:
        """The count as it stands."""
        return self._memory[:8]

    def turn(self, before: bytes) -> bytes:
        """Count one more. Return the new count, or the old one if others have counted in between."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = self._memory[:8]
            self._memory[:8] = (int.from_bytes(now, "little") + 1).to_bytes(8, "little")
            return self._memory[:8] if now == before else before
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class Polling:
    """A Flask app behind the answers it has given."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._context = context_of(app)
        self._turns = Turns(self._context.home.run / "polling.turns")
        self._table = Table(None, b"")
        self._wanted: dict[Key, Wanted] = {}
        self._known: frozenset[Key] = frozenset()
        self._gone = False
        self._looking = threading.Lock()
        self._asking = tuple(threading.Lock() for _ in range(LOCKS))

    def holds(self, environ: "WSGIEnvironment") -> bool:
        """Whether a request is answered from what is kept; the answer is laid by for it."""
        table = self._table
        if (
            environ["REQUEST_METHOD"] not in READING
            or "HTTP_IF_MATCH" in environ
            or table.turn != self._turns.seen()
            or (answer := table.find(environ)) is None
        ):
            return False
        environ[LAID_BY] = answer
        return True

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if LAID_BY in environ:
            laid_by: Answer = environ[LAID_BY]
            return laid_by.give(environ, start, self._context.clock())
        table = self._table
        if table.turn != self._turns.seen():
            table = self.look()
        if environ["REQUEST_METHOD"] not in READING or "HTTP_IF_MATCH" in environ:
            return self._ask(environ, start)
        if (answer := table.find(environ)) is not None:
            return answer.give(environ, start, self._context.clock())
        if (asked := _asked(environ)) not in self._known:
            return self._ask(environ, start)
        with self._asking[hash(asked) % LOCKS]:  # many may want what has just changed: one asks for all
            if (answer := self._table.find(environ)) is not None:
                return answer.give(environ, start, self._context.clock())
            return self._ask(environ, start)

    def watching(self) -> Self:
        """Start to watch, in a thread that ends with the process."""
        threading.Thread(target=self._watch, daemon=True, name="polling").start()
        return self

    def look(self) -> Table:
        """Look at the marks; give a new table if they have moved. Return the table that holds now."""
        with self._looking:
            turn, table, now = self._turns.seen(), self._table, self._context.clock()
            try:
                files = state_version.files(self._context.home)
                with self._context.store.reading() as connection:
                    seen = state_version.read(connection, files, self._context.settings, now)
            except sa.exc.SQLAlchemyError as gone:
                if not self._gone:
                    log.warning("the store cannot be read; what was served is served on: %s", gone)
                self._gone = True
                if table.marks is not None and table.marks.day != now.astimezone(UTC).date():
                    table = self._aged(table, table.marks, now)
            else:
                self._gone = False
                if seen != table.marks:
                    still, kept = time.monotonic() - WANTED_FOR, [*table.answers.values()]
                    wanted = [*self._wanted.values(), *(Wanted(a.key, a.vary, a.used) for a in kept if a.used > still)]
                    self._wanted = {one.key: one for one in sorted(wanted, key=lambda one: -one.used)}
                    self._known = frozenset(key[:ASKED] for key in self._wanted)
                    turn, table = self._turns.turn(turn), Table(seen, turn)
            table.turn = turn
            self._table = table
            return table

    def _ask(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """Let Flask answer, and keep the answer if it depends on nothing but the marks."""
        seen: list[Marks] = []
        if environ["REQUEST_METHOD"] == "GET" and "HTTP_IF_MATCH" not in environ:
            environ[conditional.KEEP] = seen
        said: list[tuple[str, Headers]] = []
        chunks = self._app(environ, lambda status, headers, _=None: said.append((status, headers)))  # type: ignore[arg-type]  # nobody calls `write`
        ((status, headers),) = said
        if any(name == "Content-Type" and value.startswith("text/event-stream") for name, value in headers):
            start(status, headers)
            return _Stream(chunks, self.look)
        body = _whole(chunks)
        if not seen:
            self.look()
            start(status, headers)
            return [body]
        answer = Answer(environ, headers, body, seen[0])
        table = self._table
        if table.marks != seen[0]:
            table = self.look()
        if table.marks == seen[0]:
            table.keep(answer)
        return answer.give(environ, start, self._context.clock())

    def _aged(self, table: Table, known: Marks, now: datetime) -> Table:
        """The answers of a table, a day later, while the store is gone: the same, but for the age of the data."""
        midnight = datetime.combine(now.astimezone(UTC).date(), clock_time(), UTC)
        older = known._replace(day=midnight.date(), moments=(*known.moments, midnight))
        aged = Table(older, table.turn)
        for answer in table.answers.values():
            if (body := self._older(answer.body, answer.headers, now)) is not None:
                tag = [("ETag", f'W/"{conditional.tag_of(body)}"')]
                headers = [*((name, value) for name, value in answer.headers if name != "ETag"), *tag]
                aged.keep(Answer(_environ(answer), headers, body, older))
        return aged

    def _older(self, body: bytes, headers: Headers, now: datetime) -> bytes | None:
        """A payload with the age it has now; None for what tells its age in another form."""
        if ("Content-Type", "application/json") not in headers:
            return None
        said = json.loads(body)
        if not isinstance(said, dict) or not said.get("data_as_of"):
            return None
        served = SnapshotView(
            said["snapshot_id"],
            said["digest"],
            said,
            self._context.settings,
            now,
            None,
            failing=said["status"] != "fresh",  # with the store gone, nothing can have become better
        )
        said |= {"data_age_days": served.data_age_days, "status": served.status}
        return self._app.json.dumps(said).encode()

    def _watch(self) -> None:
        while True:
            try:
                self.look()
                self._fill()
            except Exception:
                log.exception("the watcher goes on")
            time.sleep(LOOK_EVERY)

    def _fill(self) -> None:
        """Ask again for what was in use before the marks moved."""
        while self._wanted:
            wanted = self._wanted.pop(next(iter(self._wanted)))
            environ = _environ(wanted)
            with self._asking[hash(_asked(environ)) % LOCKS]:
                if self._table.find(environ) is not None:
                    continue
                self._ask(environ, _unheard)
            if (filled := self._table.find(environ)) is not None:
                filled.used = wanted.used  # we are no client: what nobody asks for is forgotten in the end


class _Stream:
    """A stream's chunks; whoever reads of news in them finds nothing older here."""

    def __init__(self, chunks: Iterable[bytes], look: Callable[[], object]) -> None:
        self._chunks, self._look = chunks, look

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._look()
            yield chunk

    def close(self) -> None:
        """Give back what the stream holds, begun or not."""
        cast(Any, self._chunks).close()


def _asked(environ: "WSGIEnvironment") -> Key:
    return environ["PATH_INFO"], environ.get("QUERY_STRING", "")


def _whole(chunks: Iterable[bytes]) -> bytes:
    try:
        return b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


def _environ(wanted: "Wanted | Answer") -> "WSGIEnvironment":
    """A request that is answered with it."""
    path, query, *varied = wanted.key
    environ: WSGIEnvironment = {"PATH_INFO": path, "QUERY_STRING": query}
    environ |= {name: value for name, value in zip(wanted.vary, varied, strict=True) if value}
    setup_testing_defaults(environ)
    return environ


def _unheard(status: str, headers: Headers, exc_info: object = None, /) -> Callable[[bytes], object]:
    return lambda _: None
