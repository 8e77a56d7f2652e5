"""Logs: lines of JSON for machines, or text for a person at a terminal; and what is known of the work a line is of.

Neither secrets nor query strings go into a line: whoever logs leaves them out.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

Form = Literal["text", "json"]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest is what was added to it."""

_TALKATIVE = {"apscheduler": logging.CRITICAL, "httpx2": logging.WARNING, "httpcore2": logging.WARNING}

GRANIAN = {
    "loggers": {
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "propagate": False},
    }
}
"""What the web server is told, so that its lines come out as ours do."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered, if one is: it stands in every line, and in problems."""

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default=MappingProxyType({}))


class JsonLines(logging.Formatter):
    """A record as one JSON object: `at` (UTC), `level`, `logger`, `message`, what was added, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        added = {name: value for name, value in vars(record).items() if name not in _OWN}
        said: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
            **added,
        }
        if asked := request_id.get():
            said.setdefault("request_id", asked)
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def form(chosen: Form | None) -> Form:
    """As chosen, else text for a terminal and JSON for anything else."""
    return chosen or ("text" if sys.stderr.isatty() else "json")


def start(chosen: Form | None) -> Form:
    """Let this process log to stderr, and return in which form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form(chosen) == "json" else logging.Formatter("vigie: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(level)
    return form(chosen)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields to every JSON line that is logged within, such as `run_id`."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def relay(log: logging.Logger, line: str, **fields: Any) -> None:
    """Log a line that another process has said, with fields of our own; one of JSON keeps its fields and its level."""
    try:
        said = json.loads(line) if line.startswith("{") else None
    except ValueError:
        said = None
    if not isinstance(said, dict) or "message" not in said:
        log.info("%s", line.removeprefix("vigie: "), extra=fields)
        return
    level = logging.getLevelNamesMapping().get(str(said.get("level", "")).upper(), logging.INFO)
    kept = {name: value for name, value in said.items() if name not in _OWN | {"at", "level", "logger"}}
    logging.getLogger(str(said.get("logger", log.name))).log(level, "%s", said["message"], extra={**fields, **kept})
