"""Channel to a service that Apprise knows: Slack, Teams, Telegram, Mattermost, ntfy, SMS gateways and others.

Apprise chooses where to connect, and bounds its steps but not their sum. So it runs in a thread of its own, which is
left behind at the deadline, and which connects to public addresses and allowed ones only.
"""

import ipaddress
import logging
import re
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any

from service.alerts.channels import attempt
from service.alerts.channels.attempt import DeliveryError, Outgoing
from service.outbound import is_allowed
from service.settings import AppriseRoute, Network

if TYPE_CHECKING:
    from apprise import NotifyBase

MISSING = "needs one more package: pip install 'vigie[notify]'"

for _name in ("apprise", "urllib3"):  # they log whole URLs, which contain tokens
    logging.getLogger(_name).propagate = False
    logging.getLogger(_name).addHandler(logging.NullHandler())  # without one, warnings go to stderr

_guarded = threading.local()
"""`allowed`: what the present thread can connect to. `host`: the name that it resolved last."""


class AppriseChannel:
    """Sends the text of messages in the language and length of the route."""

    def __init__(self, route: AppriseRoute, allowed: Sequence[Network | str]) -> None:
        self._route, self._allowed = route, allowed

    def send(self, message: Outgoing, now: datetime) -> None:
        """Send a message. Raises DeliveryError."""
        result: Future[None] = Future()
        work = threading.Thread(target=self._notify, args=(message, result), daemon=True, name="apprise")
        work.start()
        try:
            result.result(attempt.DEADLINE_SECONDS)
        except TimeoutError:
            late = f"no answer within {attempt.DEADLINE_SECONDS:g} s"
            raise DeliveryError(late, maybe_received=True) from None

    def _notify(self, message: Outgoing, result: "Future[None]") -> None:
        try:
            service = _service(self._route)
            _guard(self._allowed)
            title, body = self._text(message)
            with _Statuses() as statuses:
                accepted = service.notify(body=body, title=title)
            if not accepted:
                raise _refusal(str(service.service_name), statuses.seen)
            result.set_result(None)
        except Exception as failure:
            result.set_exception(failure)

    def _text(self, message: Outgoing) -> tuple[str, str]:
        """Return title and body. An SMS has no title, which would make it longer than one."""
        data, language = message.document["data"], self._route.language
        title = "" if self._route.length == "sms" else data["headline"][language]
        return title, data[self._route.length][language]


def _service(route: AppriseRoute) -> "NotifyBase":
    try:
        import apprise
    except ImportError:
        raise DeliveryError(f"a route of type apprise {MISSING}") from None
    asset = apprise.AppriseAsset(
        app_id="Vigie",
        app_desc="Vigie",
        app_url="",
        http_redirects=False,
        storage_mode="memory",
        interpret_emojis=False,
    )
    service = apprise.Apprise.instantiate(route.url.get_secret_value(), asset=asset)
    if service is None:
        raise DeliveryError("Apprise does not understand the url of the route; `apprise --details` lists the forms")
    return service


class _Statuses(logging.Handler):
    """HTTP statuses in what Apprise logs in this thread. The rest of its lines can contain tokens."""

    def __enter__(self) -> "_Statuses":
        self.seen: list[int] = []
        self._thread = threading.get_ident()
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note the status that a line names."""
        if record.thread == self._thread:
            self.seen += [int(status) for status in re.findall(r"error=(\d{3})\b", record.getMessage())]


def _refusal(service: str, statuses: Sequence[int]) -> DeliveryError:
    if _guarded.refused:
        return DeliveryError("the host has no public address, and allow_private_webhooks does not name it")
    if not statuses:
        return DeliveryError(f"{service} did not accept the message, or could not be reached", maybe_received=True)
    return DeliveryError(f"{service} answered {statuses[-1]}", gone=statuses[-1] == 410)


class AddressRefused(ConnectionError):
    """A thread tried to connect to an address that it must not reach."""


def _guard(allowed: Sequence[Network | str]) -> None:
    """Let the present thread connect to public addresses and allowed ones only."""
    global _watching
    if not _watching:
        _watching = True
        sys.addaudithook(_watch)  # it cannot be removed, so it is added once
    _guarded.allowed, _guarded.host, _guarded.refused = allowed, "", False


_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.getaddrinfo", "socket.connect") or not hasattr(_guarded, "allowed"):
        return
    if event == "socket.getaddrinfo":
        host = arguments[0]
        _guarded.host = host.decode() if isinstance(host, bytes) else str(host)
    elif isinstance(arguments[1], tuple):
        address = ipaddress.ip_address(str(arguments[1][0]).partition("%")[0])
        if not is_allowed(_guarded.host, address, _guarded.allowed):
            _guarded.refused = True
            raise AddressRefused("not a public address")
