"""ACLED and GDELT on loopback: real HTTP servers that respond as theirs do, with invented events."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import parse_qs

from providers import Files, Provider, Request, Response, zipped

USERNAME = "someone@example.org"
PASSWORD = "password-of-the-tests-0123456789"  # noqa: S105 - no secret: only the provider of the tests knows it

JSON = {"Content-Type": "application/json"}
ISO = {"Mali": 466, "Niger": 562, "Ivory Coast": 384, "Nigeria": 566, "Kosovo": ""}


def event(number: int, *, day: str = "2025-03-01", stamp: int = 1_750_000_000, **cells: object) -> dict[str, object]:
    """Return one row as ACLED writes it; everything in it is invented."""
    country = str(cells.pop("country", "Mali"))
    return {
        "event_id_cnty": f"{country[:3].upper()}{number}",
        "event_date": day,
        "year": int(day[:4]),
        "time_precision": "1",
        "disorder_type": "Political violence",
        "event_type": "Battles",
        "sub_event_type": "Armed clash",
        "actor1": "Invented group A",
        "assoc_actor_1": "",
        "inter1": "Rebel group",
        "actor2": "Invented group B",
        "assoc_actor_2": "",
        "inter2": "State forces",
        "interaction": "State forces-Rebel group",
        "civilian_targeting": "",
        "iso": ISO[country],
        "region": "Western Africa",
        "country": country,
        "admin1": "Invented region",
        "admin2": "",
        "admin3": "",
        "location": "Invented town",
        "latitude": "14.5000",
        "longitude": "-4.2000",
        "geo_precision": 1,
        "source": "Invented source",
        "source_scale": "National",
        "notes": 'A line,\nand "another".',
        "fatalities": 3,
        "tags": "",
        "timestamp": str(stamp),
    } | cells


class Acled(Provider):
    """ACLED's API: log-in, events and deletions by filter, in pages.

    `last_visible_day` is the last day of which the account sees single events. `counts` says whether pages have counts.
    A token is valid for `uses` requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, dict[str, object]] = {}
        self.deleted: list[tuple[str, int]] = []
        self.last_visible_day: str | None = None
        self.allowed = True
        self.counts = True
        self.uses: int | None = None
        self._tokens = 0
        self._used = 0

    def publish(self, *rows: dict[str, object]) -> None:
        """Add events, or newer versions of events."""
        self.events |= {str(row["event_id_cnty"]): row for row in rows}

    def delete(self, event_id: str, stamp: int) -> None:
        """Delete an event at a time [s since 1970]."""
        del self.events[event_id]
        self.deleted.append((event_id, stamp))

    @property
    def token(self) -> str:
        return f"access-token-{self._tokens}-of-the-tests"

    def respond(self, request: Request) -> Response:
        if request.path == "/oauth/token" and request.method == "POST":
            return self._log_in({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        if request.headers.get("authorization") != f"Bearer {self.token}" or self._used == self.uses:
            return Response(401, b'{"message":"The access token has expired"}', JSON)
        self._used += 1
        if not self.allowed:
            return Response(403, b'{"message":"Access denied"}', JSON)
        if request.path == "/api/acled/read":
            return self._page(request, self._events(request), last_visible_day=self.last_visible_day)
        if request.path == "/api/deleted/read":
            since = int(request.query["deleted_timestamp"])
            rows = [
                {"event_id_cnty": name, "deleted_timestamp": str(stamp)}
                for name, stamp in self.deleted
                if stamp >= since
            ]
            return self._page(request, rows)
        return super().respond(request)

    def _log_in(self, form: dict[str, str]) -> Response:
        credentials = {"username": USERNAME, "password": PASSWORD, "grant_type": "password", "client_id": "acled"}
        refresh = {"refresh_token": "refresh-of-the-tests", "grant_type": "refresh_token", "client_id": "acled"}
        if form not in (credentials, refresh):
            return Response(400, b'{"error":"invalid_grant"}', JSON)
        self._tokens, self._used = self._tokens + 1, 0
        token = {"access_token": self.token, "refresh_token": "refresh-of-the-tests", "expires_in": 86400}
        return Response(200, json.dumps(token).encode(), JSON)

    def _events(self, request: Request) -> list[dict[str, object]]:
        first, _, last = request.query.get("event_date", "0000|9999").partition("|")
        rows = [
            row
            for row in self.events.values()
            if row["country"] == request.query["country"]
            and int(str(row["timestamp"])) >= int(request.query.get("timestamp", 0))
            and first <= str(row["event_date"]) <= min(last, self.last_visible_day or last)
        ]
        return sorted(rows, key=lambda row: str(row["event_date"]), reverse=True)

    def _page(self, request: Request, rows: Sequence[object], last_visible_day: str | None = None) -> Response:
        size, page = int(request.query["limit"]), int(request.query["page"])
        data = rows[(page - 1) * size : page * size]
        body: dict[str, object] = {
            "status": 200,
            "success": True,
            "count": len(data) if self.counts else None,
            "total_count": len(rows) if self.counts else None,
            "messages": [],
            "data": data,
        }
        if last_visible_day:
            body["data_query_restrictions"] = {
                "date_recency": {"quantity": 12, "unit": "Months", "date": last_visible_day}
            }
        return Response(200, json.dumps(body).encode(), JSON)


@dataclass(frozen=True)
class Coded:
    """The fields of one row of GDELT that are read; None if the field is empty."""

    country: str | None = "ML"
    quad: str = "4"
    root: str = "19"
    mentions: str = "10"
    tone: str = "-2.5"


def row(coded: Coded, fields: int) -> str:
    """Return a row of GDELT's, of 58 or 61 fields."""
    cells = ["1"] * fields
    cells[28:30] = [coded.root, coded.quad]
    cells[31], cells[34] = coded.mentions, coded.tone
    cells[51 if fields == 58 else 53] = coded.country or ""
    cells[-1] = 'http://example.org/"quoted'
    return "\t".join(cells)


def table(rows: Iterable[Coded], fields: int) -> bytes:
    """Return a table of GDELT's, without a header."""
    return "".join(f"{row(coded, fields)}\n" for coded in rows).encode()


class Gdelt(Files):
    """GDELT's files: daily ones of edition 1, 15-minute ones of edition 2, and the lists of them with their md5."""

    def __init__(self) -> None:
        super().__init__()
        self.daily: dict[str, str] = {}
        self.parts: dict[str, str] = {}
        self.files["/events/md5sums"] = b""

    def put_daily(self, day: date, *rows: Coded) -> str:
        """Publish a daily file, and return its path."""
        name = f"{day:%Y%m%d}.export.CSV"
        return self.publish_file(f"/events/{name}.zip", zipped(name, table(rows, 58)), self.daily)

    def put_part(self, day: date, number: int, *rows: Coded) -> str:
        """Publish the 15-minute file of a number, 0 to 95, and return its path."""
        at = timedelta(minutes=15 * number)
        name = f"{day:%Y%m%d}{at.seconds // 3600:02d}{at.seconds // 60 % 60:02d}00.export.CSV"
        return self.publish_file(f"/gdeltv2/{name}.zip", zipped(name, table(rows, 61)), self.parts)

    def relist(self) -> None:
        """Write the lists of the files published so far."""
        daily = [f"{md5}  {path.rpartition('/')[2]}" for path, md5 in sorted(self.daily.items(), reverse=True)]
        self.files["/events/md5sums"] = "\n".join(["0" * 32 + "  1979.zip", *daily, ""]).encode()
        lines = [
            f"{len(self.files.get(path, b''))} {md5} http://data.gdeltproject.org{path}"
            for path, md5 in sorted(self.parts.items())
        ]
        others = [line.replace(".export.CSV.zip", ".mentions.CSV.zip") for line in lines]
        combined = [line for pair in zip(lines, others, strict=True) for line in pair]
        self.files["/gdeltv2/masterfilelist.txt"] = "\n".join([*combined, ""]).encode()
        self.files["/gdeltv2/lastupdate.txt"] = "\n".join([*combined[-2:], ""]).encode()

    def publish_file(self, path: str, content: bytes, listed: dict[str, str]) -> str:
        self.files[path] = content
        listed[path] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.relist()
        return path
