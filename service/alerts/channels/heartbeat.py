"""Heartbeat to a monitor outside, which notices when the calls stop."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

from service.alerts.channels.attempt import request
from service.outbound import RequestFailed, Session
from service.settings import Network

HeartbeatSignal = Literal["start", "success", "fail"]

log = logging.getLogger(__name__)


def heartbeat(url: str, signal: HeartbeatSignal = "success", allowed: Sequence[Network | str] = ()) -> None:
    """Tell an outside monitor that work starts, has succeeded or has failed, as the pinging API of Healthchecks does.

    Success is a GET of the URL itself; the others have `/start` or `/fail` at the end of its path. A failed call is
    only logged: the monitor notices the missing call itself.
    """
    parts = urlsplit(url)
    path = parts.path if signal == "success" else f"{parts.path.rstrip('/')}/{signal}"
    try:
        with Session(allowed) as session:
            head = request(session, "GET", parts._replace(path=path).geturl(), {"user-agent": "vigie"})
    except RequestFailed as failure:
        log.warning("heartbeat failed: %s", failure)
    else:
        # A simple monitor has no address for the start and for failures.
        if not 200 <= head.status < 300 and (signal == "success" or head.status != HTTPStatus.NOT_FOUND):
            log.warning("heartbeat failed: the monitor answered %d", head.status)


@contextlib.contextmanager
def monitored(url: object | None, allowed: Sequence[Network | str] = ()) -> Iterator[None]:
    """Tell an outside monitor, if there is one, when a piece of work starts, succeeds or fails."""
    if url is None:
        yield
        return
    heartbeat(str(url), "start", allowed)
    try:
        yield
    except Exception:
        heartbeat(str(url), "fail", allowed)
        raise
    heartbeat(str(url), "success", allowed)
