"""What `vigie export` requests from the application: all addresses of its routes, and the response at each of them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise, product
from pathlib import Path, PurePosixPath
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask
from werkzeug.routing import Rule

from riskmodel import geography
from riskmodel.errors import Refused, VigieError
from service.api.endpoints import Operation
from service.drawing.language import LOCALES
from service.http.request_context import context_of
from service.store.tables import alerts, snapshots

NOT_EXPORTED = frozenset({"changes", "health", "jobs", "metrics", "tasks"})
"""Blueprints that are not exported: their responses are about the present moment or about one process."""

NOTHING_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
"""Statuses of an address that has no content: a snapshot without draws, two snapshots that cannot be compared."""

SERVER_HEADERS = {"content-type", "content-length", "etag", "date", "last-modified", "cache-control", "expires", "vary"}
"""Headers that the manifest has in another form, or that the file server sets itself."""

NEXT_LINK = re.compile(r'<([^>]+)>; rel="next"')

PathValues = Mapping[tuple[str, ...], Sequence[tuple[Any, ...]]]
"""By the sorted names of a route's path parts: the values that they can have together."""


@dataclass(frozen=True)
class ExportedResponse:
    """A successful response of the application. Links in it begin with `prefix`, its address and its file do not."""

    address: str
    body: bytes
    media_type: str
    etag: str | None
    headers: dict[str, str]
    prefix: str

    @property
    def file(self) -> str:
        """The path of its file. A page is the index of a folder; a payload without a suffix gets `.json`."""
        path, _, query = self.address.removeprefix("/").partition("?")
        if self.media_type.startswith("text/html"):
            return str(PurePosixPath(path) / "index.html")
        suffix = PurePosixPath(path).suffix
        if query:
            return f"{path}@{query}{suffix or '.json'}"
        return path if suffix else f"{path}.json"

    @property
    def compressible(self) -> bool:
        """Whether it is text. Other files are compressed already."""
        kind = self.media_type.partition(";")[0]
        return kind.startswith("text/") or kind.endswith(("json", "xml"))

    @property
    def next_address(self) -> str | None:
        """The address of the next page of a list, without the prefix."""
        found = NEXT_LINK.search(self.headers.get("Link", ""))
        return found[1].removeprefix(self.prefix) if found else None


def path_values(app: Flask, connection: sa.Connection, scores: ExportedResponse) -> PathValues:
    """Return the values of all path parts, for the region and the kind of data of a scores response."""
    payload = json.loads(scores.body)
    in_realm = (snapshots.c.region == payload["region"]) & (snapshots.c.simulated == payload["simulated"])
    numbers = list(connection.scalars(sa.select(snapshots.c.id).where(in_realm).order_by(snapshots.c.id)))
    of_realm = (alerts.c.region == payload["region"]) & (alerts.c.simulated == payload["simulated"])
    ids = sa.select(alerts.c.id).where(of_realm, alerts.c.fired_at.is_not(None)).order_by("id")
    fired = list(connection.scalars(ids))
    countries, others = geography.region(payload["region"]).members, payload["outcomes"][1:]
    static = Path(cast(str, app.static_folder))
    return {
        (): [()],
        ("iso3",): [(iso3,) for iso3 in countries],
        ("language",): [(code,) for code in LOCALES],
        ("iso3", "language"): list(product(countries, LOCALES)),
        ("language", "outcome"): list(product(LOCALES, others)),
        ("iso3", "language", "outcome"): list(product(countries, LOCALES, others)),
        ("number",): [(number,) for number in numbers],
        ("alert_id",): [(alert_id,) for alert_id in fired],
        ("alert_id", "language"): list(product(fired, LOCALES)),
        ("a", "b"): list(pairwise(numbers)),
        ("filename",): [(str(path.relative_to(static)),) for path in sorted(static.rglob("*")) if path.is_file()],
    }


def addresses(app: Flask, values: PathValues) -> list[str]:
    """Return the addresses of all exported routes, without the further pages of lists.

    The headline has the addresses without an outcome, and the other outcome those with its name. Raises VigieError for
    a route whose path parts are not in `values`, so that no new route is forgotten.
    """
    others = sorted({outcome for _, outcome in values["language", "outcome"]})
    found = []
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.endpoint.split(".")[0] in NOT_EXPORTED:
            continue
        names = tuple(sorted(rule.arguments))
        if names not in values:
            raise VigieError(f"the export has no values for the path parts of {rule.rule}")
        of_rule = [_build(rule, dict(zip(names, combination, strict=True))) for combination in values[names]]
        found += of_rule
        if takes_outcome(app.view_functions[rule.endpoint]):
            found += [f"{address}?outcome={other}" for address, other in product(of_rule, others)]
    excel = [f"/v1/scores.csv?excel={code}" for code in LOCALES]  # pages link to them
    return sorted([*found, *excel, *(f"{address}&outcome={other}" for address, other in product(excel, others))])


def takes_outcome(view: object) -> bool:
    """Return whether an endpoint of the API takes `outcome`."""
    return isinstance(view, Operation) and view.query is not None and "outcome" in view.query.model_fields


def _build(rule: Rule, values: Mapping[str, Any]) -> str:
    built = rule.build(values, append_unknown=False)
    if built is None:
        raise VigieError(f"cannot build an address from {rule.rule} and {values}")
    return built[1]


def fetch(app: Flask, address: str) -> ExportedResponse | None:
    """Return the application's response; None if the address has no content. Raises Refused for any other status."""
    prefix = context_of(app).settings.prefix
    response = app.test_client().get(address, environ_overrides={"SCRIPT_NAME": prefix})
    if response.status_code in NOTHING_THERE:
        return None
    if response.status_code != HTTPStatus.OK:
        problem = response.get_json(silent=True, force=True) or {}
        title = problem.get("title", response.status)
        raise Refused(f"{address} cannot be exported: {title} {problem.get('detail', '')}")
    headers = {name: text for name, text in response.headers if name.lower() not in SERVER_HEADERS}
    etag = response.headers.get("ETag")
    return ExportedResponse(address, response.data, response.headers["Content-Type"], etag, headers, prefix)


def fetch_pages(app: Flask, start: str) -> Iterator[ExportedResponse]:
    """Yield the response at an address and, if it is a list, at the addresses of all its further pages."""
    address: str | None = start
    while address and (response := fetch(app, address)):
        yield response
        address = response.next_address
