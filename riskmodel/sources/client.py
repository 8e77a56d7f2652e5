"""One HTTP client for all sources: bounded in time, size, attempts and redirects, and silent about secrets.

What the providers' answers mean is not known here.
"""

import contextlib
import email.utils
import errno
import hashlib
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random, wait_random_exponential

from riskmodel import __version__
from riskmodel.errors import BadInput, SourceUnavailable, VigieError
from riskmodel.home import atomic_write, sync

ATTEMPTS = 5
CONNECTING = 3
"""How often a request is tried, and how often where nobody answers at all."""

LONGEST_WAIT = 300.0
"""The longest wait that a provider may ask for [s]; one who asks for more is not waited for."""

SLOWEST = 1024
"""The slowest flow that is put up with [bytes/s]."""

REDIRECTS = 5

_AGENT = f"Vigie/{__version__} (+https://github.com/vigie)"
_NO_CREDENTIALS = frozenset(
    {"accept", "accept-encoding", "range", "if-range", "if-none-match", "if-modified-since", "content-type"}
)
_BACK_OFF = wait_random_exponential(multiplier=1, max=60)
_SPREAD = wait_random(0, 1)
_T = TypeVar("_T")

# httpx2 writes whole addresses to its log, and an address may carry a token.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class NotFound(SourceUnavailable):
    """The provider has no such thing (404, 410)."""


class Unauthorised(SourceUnavailable):
    """The provider does not accept the credentials (401, 403)."""


class Rejected(SourceUnavailable):
    """The provider does not accept the request (any other 4xx); `excerpt` is what it said, without our secrets."""

    def __init__(self, text: str, status: int, excerpt: str) -> None:
        super().__init__(text)
        self.status, self.excerpt = status, excerpt


class _Again(Exception):
    """A failure that may pass: tried again after `wait` [s], or with back-off, up to `tries` times."""

    def __init__(self, text: str, wait: float | None = None, tries: int = ATTEMPTS) -> None:
        super().__init__(text)
        self.wait, self.tries = wait, tries


@dataclass(frozen=True)
class Fetched:
    """A file on disk, whether it is another than before, and when the provider changed it last (UTC)."""

    path: Path
    changed: bool
    last_modified: datetime | None


@dataclass(frozen=True)
class _Version:
    """Which version of what a file on disk is, in the provider's words; kept beside it."""

    url: str
    etag: str | None
    last_modified: str | None
    size: int

    @property
    def validator(self) -> str | None:
        """What tells this version from all others byte by byte; a weak ETag does not."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    @property
    def modified(self) -> datetime | None:
        return _date(self.last_modified)


class Client:
    """`watch(name, bytes_done, bytes_total)` is told of downloads; `patience` is how long one silence may last [s].

    Every method raises SourceUnavailable, or its subclass that says more. Building a client raises BadInput if the
    environment's proxy or certificates cannot be used.
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
        self._late = False
        timeout = httpx2.Timeout(patience, connect=min(10.0, patience))
        # Building a client reads the environment, before any request: a wrong variable is not the provider's fault.
        try:
            self._http = httpx2.Client(timeout=timeout, headers={"User-Agent": _AGENT}, follow_redirects=False)
        except OSError as failure:
            raise BadInput(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {failure.strerror or failure}") from None
        except (ValueError, ImportError, httpx2.InvalidURL):  # their texts can repeat a proxy's password
            raise BadInput(
                "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY holds an address that cannot be used: write "
                "http://host:port"
            ) from None

    def get_json(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = 64 << 20,
    ) -> Any:
        """The JSON that stands at an address, of at most `limit` bytes."""
        asked = httpx2.URL(url) if params is None else httpx2.URL(url).copy_merge_params(dict(params))
        return self._tried(asked, lambda: self._json("GET", asked, headers or {}, None, limit))

    def post_form(self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that answers a form. A redirect is not followed."""
        asked = httpx2.URL(url)
        return self._tried(asked, lambda: self._json("POST", asked, headers or {}, form, 1 << 20))

    def download(
        self,
        url: str,
        target: Path,
        *,
        headers: Mapping[str, str] | None = None,
        limit: int,
        md5: str | None = None,
        size: int | None = None,
    ) -> Fetched:
        """Bring a file of at most `limit` bytes to `target`: whole, or not at all.

        What an earlier call left unfinished is continued, and a file that has not changed is not sent again. One whose
        `md5` (hexadecimal) is known and already there is not asked for. Raises VigieError if it cannot be written.
        """
        if md5 and target.is_file() and _md5(target) == md5.lower():
            return Fetched(target, False, None)
        asked = httpx2.URL(url)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._tried(asked, lambda: self._downloaded(asked, target, headers or {}, limit, md5, size))
        except OSError as failure:
            if failure.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            raise VigieError(f"cannot write to {target.parent}: {failure.strerror}") from failure

    def _json(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], form: Mapping[str, str] | None, limit: int
    ) -> Any:
        with self._answer(method, url, headers, form) as response:
            body = bytearray()
            for chunk in self._flow(response, response.iter_bytes()):
                body += chunk
                _within(url, len(body), limit)
        _no_page(url, response, bytes(body[:64]))
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise _Again("its answer is no whole JSON") from None

    def _downloaded(
        self,
        url: httpx2.URL,
        target: Path,
        headers: Mapping[str, str],
        limit: int,
        md5: str | None,
        size: int | None,
    ) -> Fetched:
        part, note = _beside(target, ".part"), _beside(target, ".part.json")
        held, begun = _held(url, target, _beside(target, ".http.json")), _begun(url, part, note)
        sent = {**headers, "Accept-Encoding": "identity"}
        if begun:
            sent |= {"Range": f"bytes={begun.size}-", "If-Range": str(begun.validator)}
        elif held:
            sent |= {"If-None-Match": held.etag} if held.etag else {}
            sent |= {"If-Modified-Since": held.last_modified} if held.last_modified else {}
        with self._answer("GET", url, sent, None, expected=(304, 416)) as response:
            if response.status_code == 304 and held and not begun:
                return Fetched(target, False, held.modified)
            start = begun.size if begun and response.status_code == 206 else 0
            if (
                response.status_code not in (200, 206)
                or _first_byte(response) != start
                or (begun and start and response.headers.get("etag", begun.etag) != begun.etag)
            ):
                _drop(part, note)
                raise _Again(f"it cannot continue a download ({response.status_code})", wait=0)
            announced = response.headers.get("content-length", "")
            total = start + int(announced) if announced.isdecimal() else None
            version = _Version(
                str(url.copy_with(query=None, userinfo=b"")),
                response.headers.get("etag"),
                response.headers.get("last-modified"),
                total or 0,
            )
            if not start:
                _drop(part, note)
                note.write_text(json.dumps(asdict(version)), encoding="utf-8")
            done = start
            try:
                _within(url, total or 0, limit)
                with part.open("ab") as file:
                    for chunk in self._flow(response, response.iter_raw()):
                        if not done:
                            _no_page(url, response, chunk[:64])
                        done += len(chunk)
                        _within(url, done, limit)
                        file.write(chunk)
                        self.watch(target.name, done, total)
            except SourceUnavailable:
                _drop(part, note)
                raise
        if not done:
            _drop(part, note)
            raise _Again("it sent an empty file")
        if size is not None and done != size:
            _drop(part, note)
            raise _Again(f"it sent {done:,} bytes where {size:,} were announced")
        if md5 and _md5(part) != md5.lower():
            _drop(part, note)
            raise _Again("what it sent does not have the md5 that it published")
        sync(part)
        part.replace(target)
        with atomic_write(_beside(target, ".http.json")) as written:
            written.write_text(json.dumps({**asdict(version), "size": done}), encoding="utf-8")
        note.unlink(missing_ok=True)
        return Fetched(target, True, version.modified)

    def _tried(self, url: httpx2.URL, once: Callable[[], _T]) -> _T:
        """Try a request until it is answered, waiting in between, or give up.

        Each time anew: what is left of an answer that could not be read may lie on the connection still.
        """
        retrying = Retrying(
            sleep=self.sleep,
            stop=_enough,
            wait=_wait,
            retry=retry_if_exception_type(_Again),
            before_sleep=lambda _: self._hang_up(),
            reraise=True,
        )
        try:
            return retrying(once)
        except _Again as last:
            raise SourceUnavailable(f"{url.host}: {last}; asked for {url.path}, try again later") from None

    @contextlib.contextmanager
    def _answer(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        expected: tuple[int, ...] = (),
    ) -> Iterator[httpx2.Response]:
        """The answer to one request, where its redirects lead; its status is 2xx or among the expected ones."""
        credentials = {name for name in headers if name.lower() not in _NO_CREDENTIALS}
        secrets = [*(headers[name] for name in credentials), *(form or {}).values()]
        if url.scheme not in ("http", "https") or not url.host:
            raise BadInput(f"{url.copy_with(query=None, userinfo=b'')} is no address that begins with https://")
        if secrets and url.scheme == "http" and not _this_machine(url.host):
            raise BadInput(f"{url.host}: credentials leave this machine encrypted or not at all: use https")
        sent, here = dict(headers), url
        try:
            for _ in range(REDIRECTS + 1):
                self._allow_time()
                tracing = {"trace": self._connected}
                with self._http.stream(method, here, headers=sent, data=form, extensions=tracing) as response:
                    if not response.has_redirect_location:
                        if response.status_code not in expected:
                            _accept(here, response, secrets)
                        yield response
                        return
                    there = here.join(response.headers["location"])
                if form is not None:
                    raise SourceUnavailable(f"{here.host} answers a login with a redirect, which is not followed")
                if there.scheme != here.scheme and there.scheme != "https":
                    raise SourceUnavailable(
                        f"{here.host} redirects from {here.scheme} to {there.scheme}, which is not followed"
                    )
                if not _same_place(here, there):
                    sent = {name: value for name, value in sent.items() if name not in credentials}
                here = there
            raise SourceUnavailable(f"{url.host} redirects {url.path} more than {REDIRECTS} times")
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeEncodeError):
            raise BadInput(f"{url.host}: the request holds characters that cannot be sent; check the token") from None
        except httpx2.ConnectError as failure:
            if _is_caused_by(failure, ssl.SSLCertVerificationError):
                raise SourceUnavailable(f"{here.host}: its certificate cannot be trusted; nothing was sent") from None
            raise _Again("it cannot be reached; is there a network?", tries=CONNECTING) from None
        except httpx2.TimeoutException as silence:
            tries = CONNECTING if isinstance(silence, httpx2.ConnectTimeout) else ATTEMPTS
            raise _Again("it did not answer in time", tries=tries) from None
        except httpx2.TransportError:
            late = "it did not answer in time"
            raise _Again(late if self._late else "the connection broke off before all had come") from None
        except httpx2.DecodingError:
            raise _Again("its answer is compressed in a way that cannot be read") from None
        finally:
            if self._deadline:
                self._deadline.cancel()

    def _allow_time(self) -> None:
        """Let the provider have twice our patience from now on, however it fills the time; then cut the connection.

        The time-outs of httpx2 begin anew with each byte, so that a drip would keep it waiting for days.
        """
        if self._deadline:
            self._deadline.cancel()
        self._late = False
        self._deadline = threading.Timer(2 * self._patience, self._cut)
        self._deadline.daemon = True
        self._deadline.start()

    def _cut(self) -> None:
        self._late = True
        self._hang_up()

    def _hang_up(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _connected(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember a connection that httpx2 has opened."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            self._sockets = [*(known for known in self._sockets if known.fileno() >= 0), opened]

    def _flow(self, response: httpx2.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces of a body, as long as they come fast enough."""
        since, got = time.monotonic(), 0
        for chunk in chunks:
            got += len(chunk)
            if time.monotonic() - since > self._patience:
                if got < self._patience * SLOWEST:
                    raise _Again(f"it sends less than {SLOWEST} bytes a second")
                since, got = time.monotonic(), 0
                self._allow_time()
            yield chunk


def _enough(state: RetryCallState) -> bool:
    return state.attempt_number >= _failure(state).tries


def _wait(state: RetryCallState) -> float:
    asked = _failure(state).wait
    return _BACK_OFF(state) if asked is None else asked + _SPREAD(state)


def _failure(state: RetryCallState) -> _Again:
    failure = state.outcome.exception() if state.outcome else None
    return failure if isinstance(failure, _Again) else _Again("")


def _is_caused_by(failure: BaseException, kind: type[BaseException]) -> bool:
    """Whether an exception of this kind led to the failure. On macOS and Windows its text is the system's own."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, kind):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _accept(url: httpx2.URL, response: httpx2.Response, secrets: list[str]) -> None:
    """Raise what a status that is no success means."""
    status, where = response.status_code, f"{url.host}{url.path}"
    if 200 <= status < 300:
        return
    if status in (404, 410):
        raise NotFound(f"{where} is not there ({status})")
    if status in (401, 403):
        raise Unauthorised(f"{url.host} does not accept the credentials ({status}): check user name, password or token")
    if status in (408, 429) or status >= 500:
        after = _after(response)
        if after is not None and after > LONGEST_WAIT:
            raise SourceUnavailable(f"{url.host} asks to be left alone for {after:,.0f} s ({status}): try again then")
        raise _Again(f"it asks to slow down ({status})" if status == 429 else f"it has a fault ({status})", wait=after)
    excerpt = _excerpt(response, secrets)
    if status >= 400:
        raise Rejected(f"{url.host} does not accept the request ({status}): {excerpt or 'no reason'}", status, excerpt)
    raise SourceUnavailable(f"{where} answers with {status}, which says nothing")


def _after(response: httpx2.Response) -> float | None:
    """How long a provider asks to wait [s], if it does: `Retry-After` in seconds or as a date."""
    asked = response.headers.get("retry-after", "")
    if asked.isdecimal():
        return float(asked)
    when = _date(asked)
    return None if when is None else max(0.0, (when - datetime.now(UTC)).total_seconds())


def _excerpt(response: httpx2.Response, secrets: list[str]) -> str:
    """The beginning of what a provider said, on one line and without our secrets; nothing if it is a web page."""
    said = bytearray()
    for chunk in response.iter_bytes():
        said += chunk
        if len(said) > 2000:
            break
    text = " ".join(said[:2000].decode("utf-8", errors="replace").split())
    if text.startswith("<"):
        return ""
    for secret in sorted({part for whole in secrets for part in (whole, whole.rpartition(" ")[2])}, key=len)[::-1]:
        text = text.replace(secret, "…") if len(secret) > 3 else text
    return text[:200]


def _no_page(url: httpx2.URL, response: httpx2.Response, first: bytes) -> None:
    """Raise if data were asked for and a web page came."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise SourceUnavailable(f"{url.host}{url.path}: a web page came in place of data ({response.status_code})")


def _within(url: httpx2.URL, size: int, limit: int) -> None:
    if size > limit:
        raise SourceUnavailable(f"{url.host}{url.path} is larger than {limit:,} bytes, which no such file is")


def _first_byte(response: httpx2.Response) -> int | None:
    """Where in the file a body begins; None if a part comes that does not say so."""
    if response.status_code != 206:
        return 0
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _same_place(here: httpx2.URL, there: httpx2.URL) -> bool:
    """Whether credentials for one address may go to another: the same host and port, or its https."""
    upgraded = here.scheme == "http" and there.scheme == "https" and here.port is there.port is None
    return here.host == there.host and (upgraded or (here.scheme, here.port) == (there.scheme, there.port))


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _held(url: httpx2.URL, target: Path, note: Path) -> _Version | None:
    """The version of a file on disk, if it is known and the file is as it was."""
    version = _read(url, note)
    return version if version and target.is_file() and target.stat().st_size == version.size else None


def _begun(url: httpx2.URL, part: Path, note: Path) -> _Version | None:
    """How much of which version has come already, if that can be continued."""
    version = _read(url, note)
    size = part.stat().st_size if part.is_file() else 0
    if not size or not version or not version.validator:
        return None
    return _Version(version.url, version.etag, version.last_modified, size)


def _read(url: httpx2.URL, note: Path) -> _Version | None:
    try:
        version = _Version(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return version if version.url == str(url.copy_with(query=None, userinfo=b"")) else None


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _drop(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _date(text: str | None) -> datetime | None:
    """A date as HTTP writes it; None for anything else."""
    try:
        when = email.utils.parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
