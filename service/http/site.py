"""Where the service stands: the prefix of its addresses, the hosts that it answers to, and the forms of an address.

Every request passes here first, so that one thing has one address for everything behind: the cache, the gate, Flask.
"""

import re
from urllib.parse import urlsplit

from riskmodel.outcomes import OUTCOMES
from service.drawing.language import LOCALES
from service.http.client_address import parse_address
from service.http.message import Request
from service.settings import PREFIX_PATTERN, Settings, is_loopback

MAX_PREFIX = 200
"""Longest prefix that a proxy can name [characters]."""

MAX_HOST = 300
"""Longest Host header that is accepted [characters]. A name has at most 253."""

FIRST_PAGES = tuple(f"/{code}{under}" for code in LOCALES for under in ("", *(f"/{name}" for name in OUTCOMES)))
"""The addresses of the first page, by language and outcome, without the slash at their end."""

_MAX_REMEMBERED = 1_024
"""How many accepted Host headers a worker remembers."""

_TRACKING = re.compile(r"(?:^|&)(?:utm_[^=&]*|fbclid|gclid|ts|_)(?:=[^&]*)?(?=&|$)")
"""Parameters that other programs add to links: campaigns, and numbers that are meant to avoid caches."""

_LOWER_CASE_COUNTRY = re.compile(
    r"/(?:country|scores|forecasts|indicators|drivers|signals)/(?=[A-Za-z]{0,2}[a-z])[A-Za-z]{3}(?![^./])"
)

_PREFIX = re.compile(PREFIX_PATTERN, re.ASCII).fullmatch


class Site:
    """The place of one web server. `listens_on` is the host that it is bound to, or None if unknown."""

    def __init__(self, settings: Settings, listens_on: str | None) -> None:
        self._prefix, self._proxies = settings.prefix, settings.trusted_proxies
        named = [*settings.allowed_hosts, *([urlsplit(settings.base_url).hostname or ""] if settings.base_url else [])]
        # Names matter where a browser on the machine reads without a key. A server that others can reach asks for
        # one, or is public, so any name is right until the operator names some.
        self._any_host = "*" in named or (not named and not (listens_on and is_loopback(listens_on)))
        self._domains = (".localhost", *(name[1:] for name in named if name.startswith("*.")))
        self._hosts = {"localhost", *named, *([listens_on.lower()] if listens_on else [])}
        self._accepted: set[str] = set()

    def normalise(self, request: Request) -> None:
        """Give a request its prefix, and its address the one form that the service knows.

        A slash at the end makes no difference, nor does the case of a country's code. Tracking parameters are removed.
        """
        prefix = request.prefix or self._prefix
        if self._proxies and (forwarded := request.headers.get("x-forwarded-prefix")) is not None:
            prefix = self._forwarded_prefix(request.client, forwarded, prefix)
        path = request.path
        if prefix:
            request.prefix = prefix
            if path == prefix:
                path = "/"
            elif path.startswith(prefix + "/"):  # not every proxy removes it
                path = path[len(prefix) :]
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        if path in FIRST_PAGES:
            path += "/"
        elif path.endswith("/") and path[:-1] not in FIRST_PAGES:
            path = path[:-1] or "/"
        if _LOWER_CASE_COUNTRY.search(path):
            path = _LOWER_CASE_COUNTRY.sub(_country_in_capitals, path)
        request.path = path
        if request.query and _TRACKING.search(request.query):
            request.query = _TRACKING.sub("", request.query).lstrip("&")

    def answers_to_host(self, request: Request) -> bool:
        """Return whether the service answers under the Host of a request.

        A page of another site can let its own name point to this machine, and then read as if it were of this site
        (DNS rebinding). It cannot do that with an IP address, so every IP address is accepted.
        """
        if self._any_host or (host := request.headers.get("host")) is None or host in self._accepted:
            return True
        name = re.sub(r":[0-9]{0,5}$", "", host.lower()).strip("[]").rstrip(".")
        if len(host) > MAX_HOST or not (name in self._hosts or name.endswith(self._domains) or parse_address(name)):
            return False
        if len(self._accepted) >= _MAX_REMEMBERED:
            self._accepted.clear()
        self._accepted.add(host)
        return True

    def _forwarded_prefix(self, client: str, forwarded: str, otherwise: str) -> str:
        """Return the prefix that a proxy names, if it is a trusted one."""
        address, prefix = parse_address(client), forwarded.rstrip("/")
        trusted = address is not None and any(address in network for network in self._proxies)
        return prefix if trusted and len(prefix) <= MAX_PREFIX and _PREFIX(prefix) else otherwise


def _country_in_capitals(found: re.Match[str]) -> str:
    return found[0][:-3] + found[0][-3:].upper()
