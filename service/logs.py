"""Logging: JSON lines for machines or text for a terminal, with fields that name the work a line belongs to.

Secrets and query strings must never be logged. The caller leaves them out.
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

LogFormat = Literal["text", "json"]

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes of every log record. All others were added by the caller."""

_LIBRARY_LEVELS = {"apscheduler": logging.CRITICAL, "httpx2": logging.WARNING, "httpcore2": logging.WARNING}

GRANIAN_LOGGING = {
    "loggers": {
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "propagate": False},
    }
}
"""Logging configuration for the web server, so that its lines have our format."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, if there is one. It is added to every log line and problem document."""

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default=MappingProxyType({}))


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: `at` (UTC), `level`, `logger`, `message`, added fields, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        added = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        fields: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
            **added,
        }
        if current := request_id.get():
            fields.setdefault("request_id", current)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def one_line(text: str, longest: int = 500) -> str:
    """Return a text from outside as one line that no terminal and no log takes for anything else [characters].

    A server can put line breaks, escape sequences and marks that reverse the direction of writing into its replies.
    """
    line = " ".join(text[: 4 * longest].split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)[:longest]


def resolve_format(setting: LogFormat | None) -> LogFormat:
    """Return the format that is set, else text for a terminal and JSON for anything else."""
    return setting or ("text" if sys.stderr.isatty() else "json")


def configure(setting: LogFormat | None) -> LogFormat:
    """Make this process log to standard error. Return the format."""
    handler = logging.StreamHandler(sys.stderr)
    log_format = resolve_format(setting)
    handler.setFormatter(JsonLines() if log_format == "json" else logging.Formatter("vigie: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    return log_format


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Add fields, such as `run_id`, to every JSON line that is logged inside the block."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def relay(log: logging.Logger, line: str, **fields: Any) -> None:
    """Log a line from a child process, with fields of our own. A JSON line keeps its fields and its level."""
    try:
        entry = json.loads(line) if line.startswith("{") else None
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "message" not in entry:
        log.info("%s", line.removeprefix("vigie: "), extra=fields)
        return
    level = logging.getLevelNamesMapping().get(str(entry.get("level", "")).upper(), logging.INFO)
    added = {name: value for name, value in entry.items() if name not in _STANDARD_FIELDS | {"at", "level", "logger"}}
    logging.getLogger(str(entry.get("logger", log.name))).log(level, "%s", entry["message"], extra={**fields, **added})
