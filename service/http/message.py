"""An HTTP request and an HTTP response as the front passes them, whichever server interface they came by."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]

MAX_PREFERENCE = 1_024
"""Longest `Accept…` header that is read [characters]. A longer one counts as absent: parsing 31 kB of languages would
delay all other clients."""

PREFERENCES = ("accept", "accept-language", "accept-encoding")


@dataclass(slots=True)
class Admission:
    """What the gate knows of a request that it admits.

    `headers` belong to its response. `client` names what shares one limit; it is unlimited for this machine itself.
    `key` is the prefix of the key that was shown. `private` responses must not be stored by shared caches. With
    `by_link` there is no key, and the response depends on the signature of the address, which the view checks.
    """

    headers: Headers
    client: str
    unlimited: bool
    key: str | None
    private: bool
    by_link: bool = False


NOBODY = Admission([], "", True, None, False)
"""Of a request that no client sent, or that the gate has not admitted."""


class Request:
    """One HTTP request."""

    __slots__ = (
        *("admission", "body", "client", "headers", "method", "parts", "path", "prefix", "query", "request_id"),
        "scheme",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        client: str,
        scheme: str = "http",
        parts: AsyncIterable[bytes] | None = None,
        prefix: str = "",
    ) -> None:
        """`path` is decoded, `query` is as sent, the names of `headers` are in lower case.

        `prefix` is the path under which the service stands. `service.http.site` takes it out of `path`. `client` is
        the address of the peer without its port. `parts` are the parts of the body, which come once.
        """
        self.method, self.path, self.query, self.headers = method, path, query, headers
        self.client, self.scheme = client, scheme
        self.parts, self.prefix = parts, prefix
        self.body, self.request_id = b"", ""
        self.admission = NOBODY

    def variant(
        self, *, method: str | None = None, query: str | None = None, headers: Mapping[str, str] | None = None
    ) -> "Request":
        """Return the same request with another method, query or headers."""
        made = Request(
            method or self.method,
            self.path,
            self.query if query is None else query,
            self.headers if headers is None else headers,
            self.client,
            self.scheme,
            self.parts,
            self.prefix,
        )
        made.body, made.request_id, made.admission = self.body, self.request_id, self.admission
        return made

    def preference(self, name: str) -> str:
        """Return the value of an `Accept…` header; an empty text if there is none, or if it is too long to parse."""
        value = self.headers.get(name)
        return value if value and len(value) <= MAX_PREFERENCE else ""


@dataclass(slots=True)
class Response:
    """A complete response."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the value of a header, by its name in any case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


Presenter = Callable[[Request, Response], Response]
"""Gives a refusal the form that its client reads best. Any other response is returned as it is."""


def unchanged(_: Request, response: Response) -> Response:
    """Return a response as it is."""
    return response


@dataclass(slots=True)
class EventStream:
    """A response whose body goes on: server-sent events. `close` must be called at its end, however it ends."""

    headers: Headers
    chunks: AsyncIterator[bytes]
    close: Callable[[], None]
    status: int = 200
