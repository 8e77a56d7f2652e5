"""One HTTP client for all sources: bounded in time, size, attempts and redirects. It never shows a secret.

It does not know what the content of a provider's responses means.
"""

import contextlib
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random, wait_random_exponential

from riskmodel import __version__
from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.network import CA_BUNDLE, check_proxies, proxy_variable, tls_context
from riskmodel.sources.responses import (
    ATTEMPTS,
    TransientFailure,
    check_size,
    check_status,
    refuse_web_page,
    refused_by_proxy,
    unpacked,
)

CONNECT_ATTEMPTS = 3
"""How often a connection to a host is tried."""

SLOWEST = 1024
"""The slowest flow that is accepted [bytes/s]."""

REDIRECTS = 5

_USER_AGENT = f"Vigie/{__version__} (+https://github.com/vigie)"
_HEADERS_WITHOUT_CREDENTIALS = frozenset(
    {"accept", "accept-encoding", "range", "if-range", "if-none-match", "if-modified-since", "content-type"}
)
_BACK_OFF = wait_random_exponential(multiplier=1, max=60)
_JITTER = wait_random(0, 1)
_T = TypeVar("_T")

# httpx2 writes complete URLs to its log, and a URL can contain a token.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Client:
    """An HTTP client. `watch(name, bytes_done, bytes_total)` is called during downloads.

    `patience` is the longest accepted silence of the provider [s]. Every method raises SourceUnavailable, or a
    subclass of it that says more. Building a client raises BadInput if the environment's proxy or certificates cannot
    be used.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], None] = time.sleep,
        watch: Callable[[str, int, int | None], None] | None = None,
        patience: float = 60.0,
    ) -> None:
        self.sleep = sleep
        self.watch = watch or (lambda name, done, total: None)
        self._patience = patience
        self._sockets: list[socket.socket] = []
        self._deadline: threading.Timer | None = None
        self._deadline_passed = False
        timeout = httpx2.Timeout(patience, connect=min(10.0, patience))
        self._connects_to = ""
        context = tls_context()
        check_proxies(context)
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "gzip"}
        self._http = httpx2.Client(timeout=timeout, headers=headers, verify=context, follow_redirects=False)

    def get_json(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = 32 << 20,
    ) -> Any:
        """Return the JSON at a URL, of at most `limit` bytes."""
        target = httpx2.URL(url) if params is None else httpx2.URL(url).copy_merge_params(dict(params))
        return self.retry(target, lambda: self._json("GET", target, headers or {}, None, limit))

    def post_form(self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Any:
        """Post a form and return the JSON of the response. A redirect is not followed."""
        target = httpx2.URL(url)
        return self.retry(target, lambda: self._json("POST", target, headers or {}, form, 1 << 20))

    def _json(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], form: Mapping[str, str] | None, limit: int
    ) -> Any:
        with self.open(method, url, headers, form) as response:
            body = bytearray()
            for chunk in self.chunks(response, unpacked(response)):
                body += chunk
                check_size(url, len(body), limit)
        refuse_web_page(url, response, bytes(body[:64]))
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise TransientFailure("its response is no complete JSON") from None

    def retry(self, url: httpx2.URL, attempt: Callable[[], _T]) -> _T:
        """Call `attempt` until it succeeds, waiting in between, or raise SourceUnavailable.

        Each attempt takes a new connection: the rest of an unreadable response can still be on the old one.
        """
        retrying = Retrying(
            sleep=self.sleep,
            stop=_is_last_attempt,
            wait=_wait,
            retry=retry_if_exception_type(TransientFailure),
            before_sleep=lambda _: self._close_connections(),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except TransientFailure as last:
            raise SourceUnavailable(f"{url.host}: {last}; {url.path} was not read, try again later") from None

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        expected: tuple[int, ...] = (),
    ) -> Iterator[httpx2.Response]:
        """Send one request and yield the response after all redirects. Its status is 2xx, or an expected one."""
        credentials = {name for name in headers if name.lower() not in _HEADERS_WITHOUT_CREDENTIALS}
        secrets = [*(headers[name] for name in credentials), *(form or {}).values()]
        if url.scheme not in ("http", "https") or not url.host:
            raise BadInput(f"{url.copy_with(query=None, userinfo=b'')} is no address that begins with https://")
        if secrets and url.scheme == "http" and not _is_loopback(url.host):
            raise BadInput(f"{url.host}: credentials are sent encrypted or not at all: use https")
        sent, here = dict(headers), url
        try:
            for _ in range(REDIRECTS + 1):
                self._start_deadline()
                extensions = {"trace": self._trace}
                with self._http.stream(method, here, headers=sent, data=form, extensions=extensions) as response:
                    if not response.has_redirect_location:
                        if response.status_code not in expected:
                            check_status(here, response, secrets)
                        yield response
                        return
                    there = here.join(response.headers["location"])
                if form is not None:
                    raise SourceUnavailable(f"{here.host} answers a login with a redirect, which is not followed")
                if there.scheme != here.scheme and there.scheme != "https":
                    raise SourceUnavailable(
                        f"{here.host} redirects from {here.scheme} to {there.scheme}, which is not followed"
                    )
                if not _can_send_credentials(here, there):
                    sent = {name: value for name, value in sent.items() if name not in credentials}
                here = there
            raise SourceUnavailable(f"{url.host} redirects {url.path} more than {REDIRECTS} times")
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeEncodeError):
            raise BadInput(
                f"{url.host}: the request contains characters that cannot be sent; check the token"
            ) from None
        except httpx2.ConnectError as failure:
            if _is_caused_by(failure, ssl.SSLCertVerificationError):
                raise SourceUnavailable(
                    f"{here.host}: its certificate cannot be trusted; nothing was sent. If your office's proxy signs "
                    f"certificates, name the file with its own in {CA_BUNDLE}"
                ) from None
            through_proxy = self._connects_to not in ("", here.host)
            lost = (
                f"the proxy of {proxy_variable(here.scheme)} cannot be reached; is its address right?"
                if through_proxy
                else "it cannot be reached; is there a network?"
            )
            raise TransientFailure(lost, attempts=CONNECT_ATTEMPTS) from None
        except httpx2.ProxyError as failure:
            raise refused_by_proxy(here, str(failure)) from None
        except httpx2.TimeoutException as timeout:
            attempts = CONNECT_ATTEMPTS if isinstance(timeout, httpx2.ConnectTimeout) else ATTEMPTS
            raise TransientFailure("it did not answer in time", attempts=attempts) from None
        except httpx2.TransportError:
            if self._deadline_passed:
                raise TransientFailure("it did not answer in time") from None
            raise TransientFailure("the connection broke off before the response was complete") from None
        finally:
            if self._deadline:
                self._deadline.cancel()

    def chunks(self, response: httpx2.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a body as long as they come fast enough."""
        since, received = time.monotonic(), 0
        for chunk in chunks:
            received += len(chunk)
            if time.monotonic() - since > self._patience:
                if received < self._patience * SLOWEST:
                    raise TransientFailure(f"it sends less than {SLOWEST} bytes a second")
                since, received = time.monotonic(), 0
                self._start_deadline()
            yield chunk

    def _start_deadline(self) -> None:
        """Give the provider twice our patience from now on; then the connection is cut.

        The timeouts of httpx2 start again with each byte, so one byte a minute would keep it waiting for days.
        """
        if self._deadline:
            self._deadline.cancel()
        self._deadline_passed = False
        self._deadline = threading.Timer(2 * self._patience, self._cut)
        self._deadline.daemon = True
        self._deadline.start()

    def _cut(self) -> None:
        self._deadline_passed = True
        self._close_connections()

    def _close_connections(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets that httpx2 opens: it offers no other way to cut a connection from another thread.

        The host to which it connects is also that of a proxy.
        """
        if event.endswith("connect_tcp.started"):
            self._connects_to = info["host"]
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            self._sockets = [*(known for known in self._sockets if known.fileno() >= 0), opened]


def _is_last_attempt(state: RetryCallState) -> bool:
    return state.attempt_number >= _failure(state).attempts


def _wait(state: RetryCallState) -> float:
    """How long to wait before the next attempt [s]: as the provider asks, else longer each time."""
    wait = _failure(state).wait
    return _BACK_OFF(state) if wait is None else wait + _JITTER(state)


def _failure(state: RetryCallState) -> TransientFailure:
    failure = state.outcome.exception() if state.outcome else None
    return failure if isinstance(failure, TransientFailure) else TransientFailure("")


def _is_caused_by(failure: BaseException, kind: type[BaseException]) -> bool:
    """Whether an exception of this kind led to the failure. Its text is no guide: it is the system's own."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, kind):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _can_send_credentials(here: httpx2.URL, there: httpx2.URL) -> bool:
    """Whether credentials for one address can go to another: the same host and port, or its https."""
    upgraded = here.scheme == "http" and there.scheme == "https" and here.port is there.port is None
    return here.host == there.host and (upgraded or (here.scheme, here.port) == (there.scheme, there.port))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
