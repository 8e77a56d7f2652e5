"""What a provider's HTTP response means for us: done, try again, or a failure that a person can act on."""

import email.utils
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx2

from riskmodel.errors import SourceUnavailable
from riskmodel.network import proxy_variable

ATTEMPTS = 5
"""How often a request is sent before we give up."""

LONGEST_WAIT = 300.0
"""The longest wait that is accepted [s]. If a provider asks for more, the request fails at once."""

_PIECE = 1 << 16
"""How much of a compressed body is unpacked at a time [bytes]."""


class NotFound(SourceUnavailable):
    """The provider has no such thing (404, 410)."""


class Unauthorised(SourceUnavailable):
    """The provider does not accept the credentials (401, 403)."""


class Rejected(SourceUnavailable):
    """The provider does not accept the request (any other 4xx). `excerpt` begins its response, without our secrets."""

    def __init__(self, text: str, status: int, excerpt: str) -> None:
        super().__init__(text)
        self.status, self.excerpt = status, excerpt


class TransientFailure(Exception):
    """A failure that can pass: try again after `wait` [s], or with back-off, up to `attempts` attempts in all."""

    def __init__(self, text: str, wait: float | None = None, attempts: int = ATTEMPTS) -> None:
        super().__init__(text)
        self.wait, self.attempts = wait, attempts


def check_status(url: httpx2.URL, response: httpx2.Response, secrets: list[str]) -> None:
    """Raise what a status other than 2xx means. `secrets` are removed from the text."""
    status, place = response.status_code, f"{url.host}{url.path}"
    if 200 <= status < 300:
        return
    if status in (404, 410):
        raise NotFound(f"{place} is not there ({status})")
    if status == 407:
        raise refused_by_proxy(url, "407")
    if status == 403 and not secrets:
        raise Unauthorised(f"{url.host} refuses access (403); a proxy or firewall of your network can be the reason")
    if status in (401, 403):
        raise Unauthorised(f"{url.host} does not accept the credentials ({status}): check user name, password or token")
    if status in (408, 429) or status >= 500:
        wait = _retry_after(response)
        if wait is not None and wait > LONGEST_WAIT:
            raise SourceUnavailable(f"{url.host} asks to wait {wait:,.0f} s ({status}): try again then")
        reason = f"it asks to slow down ({status})" if status == 429 else f"it has a fault ({status})"
        raise TransientFailure(reason, wait=wait)
    excerpt = _excerpt(response, secrets)
    if status >= 400:
        raise Rejected(f"{url.host} does not accept the request ({status}): {excerpt or 'no reason'}", status, excerpt)
    raise SourceUnavailable(f"{place} answers with {status}, which is not expected")


def refused_by_proxy(url: httpx2.URL, text: str) -> Exception:
    """Return the failure that a proxy's refusal means. `text` begins with its status, if it has one."""
    status, proxy = text.partition(" ")[0], f"the proxy of {proxy_variable(url.scheme)}"
    if status == "407":
        return SourceUnavailable(
            f"{proxy} does not let Vigie in (407): write the variable as http://user:password@host:port, with %40 "
            "for @ and %3A for : in user and password"
        )
    if status.startswith("4"):
        return SourceUnavailable(f"{proxy} does not connect to {url.host} ({status}): ask those who run it")
    return TransientFailure(f"{proxy} does not connect to it{f' ({status})' if status.isdecimal() else ''}")


def _retry_after(response: httpx2.Response) -> float | None:
    """Return how long the provider asks to wait [s]: `Retry-After` in seconds or as a date; None without it."""
    value = response.headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    when = http_date(value)
    return None if when is None else max(0.0, (when - datetime.now(UTC)).total_seconds())


def _excerpt(response: httpx2.Response, secrets: list[str]) -> str:
    """Return the beginning of a body, on one line and without our secrets; nothing if it is a web page."""
    body = bytearray()
    for chunk in unpacked(response):
        body += chunk
        if len(body) > 2000:
            break
    text = " ".join(body[:2000].decode("utf-8", errors="replace").split())
    if text.startswith("<"):
        return ""
    # A header such as "Bearer TOKEN" can come back complete or as its last word. The longest goes first.
    parts = {part for secret in secrets for part in (secret, secret.rpartition(" ")[2])}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "…") if len(part) > 3 else text
    return text[:200]


def unpacked(response: httpx2.Response) -> Iterator[bytes]:
    """Yield a body in pieces, decompressed. We ask for gzip only, and read nothing else.

    httpx2 would unpack each packet as a unit: 300 kB of Brotli can be 700 MB. Raises TransientFailure if it is broken.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        yield from response.iter_raw()
        return
    if coding not in ("gzip", "x-gzip"):
        raise SourceUnavailable(f"{response.url.host} compresses its response as {coding!r}, which was not asked for")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    received = 0
    try:
        for packet in response.iter_raw():
            received += len(packet)
            piece = unpacker.decompress(packet, _PIECE)
            while piece:
                yield piece
                piece = unpacker.decompress(unpacker.unconsumed_tail, _PIECE)
    except zlib.error:
        raise TransientFailure("its response is compressed in a way that cannot be read") from None
    if received and not unpacker.eof:
        raise TransientFailure("the connection broke off before the response was complete")


def refuse_web_page(url: httpx2.URL, response: httpx2.Response, first: bytes) -> None:
    """Raise SourceUnavailable if the response is a web page: many sites answer any error with one, and status 200."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise SourceUnavailable(f"{url.host}{url.path}: a web page came instead of data ({response.status_code})")


def check_size(url: httpx2.URL, size: int, limit: int) -> None:
    """Raise SourceUnavailable if a body has more than `limit` bytes."""
    if size > limit:
        raise SourceUnavailable(f"{url.host}{url.path} is larger than {limit:,} bytes, which no such file is")


def http_date(text: str | None) -> datetime | None:
    """Read a date as HTTP writes it; None for anything else."""
    try:
        when = email.utils.parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
