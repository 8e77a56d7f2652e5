"""ACLED and GDELT on loopback, for tests: real HTTP servers that answer as theirs do, with invented events."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import parse_qs

from providers import Answer, Asked, Files, Provider, zipped

USERNAME = "someone@example.org"
PASSWORD = "password-of-the-tests-0123456789"  # noqa: S105 - no secret: the provider in the tests asks for it

JSON = {"Content-Type": "application/json"}
ISO = {"Mali": 466, "Niger": 562, "Ivory Coast": 384, "Nigeria": 566}


def event(number: int, *, day: str = "2025-03-01", stamp: int = 1_750_000_000, **cells: object) -> dict[str, object]:
    """One row as ACLED writes it; everything in it is invented."""
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

    `sees_to` is the last day of single events that the account sees; `counts` whether counts are given. A token is good
    for `uses` requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, dict[str, object]] = {}
        self.deleted: list[tuple[str, int]] = []
        self.sees_to: str | None = None
        self.allowed = True
        self.counts = True
        self.uses: int | None = None
        self._tokens = 0
        self._used = 0

    def publish(self, *rows: dict[str, object]) -> None:
        """Add events, or newer versions of them."""
        self.events |= {str(row["event_id_cnty"]): row for row in rows}

    def delete(self, event_id: str, stamp: int) -> None:
        """Delete an event at a time [s since 1970]."""
        del self.events[event_id]
        self.deleted.append((event_id, stamp))

    @property
    def token(self) -> str:
        return f"access-token-{self._tokens}-of-the-tests"

    def truth(self, asked: Asked) -> Answer:
        if asked.path == "/oauth/token" and asked.method == "POST":
            return self._log_in({name: values[0] for name, values in parse_qs(asked.body.decode()).items()})
        if asked.headers.get("authorization") != f"Bearer {self.token}" or self._used == self.uses:
            return Answer(401, b'{"message":"The access token has expired"}', JSON)
        self._used += 1
        if not self.allowed:
            return Answer(403, b'{"message":"Access denied"}', JSON)
        if asked.path == "/api/acled/read":
            return self._page(asked, self._events(asked), sees_to=self.sees_to)
        if asked.path == "/api/deleted/read":
            since = int(asked.query["deleted_timestamp"])
            rows = [
                {"event_id_cnty": name, "deleted_timestamp": str(stamp)}
                for name, stamp in self.deleted
                if stamp >= since
            ]
            return self._page(asked, rows)
        return super().truth(asked)

    def _log_in(self, form: dict[str, str]) -> Answer:
        right = {"username": USERNAME, "password": PASSWORD, "grant_type": "password", "client_id": "acled"}
        again = {"refresh_token": "refresh-of-the-tests", "grant_type": "refresh_token", "client_id": "acled"}
        if form not in (right, again):
            return Answer(400, b'{"error":"invalid_grant"}', JSON)
        self._tokens, self._used = self._tokens + 1, 0
        token = {"access_token": self.token, "refresh_token": "refresh-of-the-tests", "expires_in": 86400}
        return Answer(200, json.dumps(token).encode(), JSON)

    def _events(self, asked: Asked) -> list[dict[str, object]]:
        first, _, last = asked.query.get("event_date", "0000|9999").partition("|")
        rows = [
            row
            for row in self.events.values()
            if row["country"] == asked.query["country"]
            and int(str(row["timestamp"])) >= int(asked.query.get("timestamp", 0))
            and first <= str(row["event_date"]) <= min(last, self.sees_to or last)
        ]
        return sorted(rows, key=lambda row: str(row["event_date"]), reverse=True)

    def _page(self, asked: Asked, rows: Sequence[object], sees_to: str | None = None) -> Answer:
        size, page = int(asked.query["limit"]), int(asked.query["page"])
        data = rows[(page - 1) * size : page * size]
        body: dict[str, object] = {
            "status": 200,
            "success": True,
            "count": len(data) if self.counts else None,
            "total_count": len(rows) if self.counts else None,
            "messages": [],
            "data": data,
        }
        if sees_to:
            body["data_query_restrictions"] = {"date_recency": {"quantity": 12, "unit": "Months", "date": sees_to}}
        return Answer(200, json.dumps(body).encode(), JSON)


@dataclass(frozen=True)
class Coded:
    """What counts in one row of GDELT; None where the field is empty."""

    country: str | None = "ML"
    quad: str = "4"
    root: str = "19"
    mentions: str = "10"
    tone: str = "-2.5"


def row(coded: Coded, fields: int) -> str:
    """A row of GDELT's of 58 or 61 fields."""
    cells = ["1"] * fields
    cells[28:30] = [coded.root, coded.quad]
    cells[31], cells[34] = coded.mentions, coded.tone
    cells[51 if fields == 58 else 53] = coded.country or ""
    cells[-1] = 'http://example.org/"quoted'
    return "\t".join(cells)


def table(rows: Iterable[Coded], fields: int) -> bytes:
    """A table of GDELT's, without a header."""
    return "".join(f"{row(coded, fields)}\n" for coded in rows).encode()


class Gdelt(Files):
    """GDELT's files: daily ones of edition 1, 15-minute ones of edition 2, and the lists of both with their md5."""

    def __init__(self) -> None:
        super().__init__()
        self.daily: dict[str, str] = {}
        self.parts: dict[str, str] = {}
        self.files["/events/md5sums"] = b""

    def put_daily(self, day: date, *rows: Coded) -> str:
        """Publish a daily file; gives its path."""
        name = f"{day:%Y%m%d}.export.CSV"
        return self._put(f"/events/{name}.zip", zipped(name, table(rows, 58)), self.daily)

    def put_part(self, day: date, number: int, *rows: Coded) -> str:
        """Publish the 15-minute file of a number, 0 to 95; gives its path."""
        at = timedelta(minutes=15 * number)
        name = f"{day:%Y%m%d}{at.seconds // 3600:02d}{at.seconds // 60 % 60:02d}00.export.CSV"
        return self._put(f"/gdeltv2/{name}.zip", zipped(name, table(rows, 61)), self.parts)

    def relist(self) -> None:
        """Write the lists anew."""
        daily = [f"{md5}  {path.rpartition('/')[2]}" for path, md5 in sorted(self.daily.items(), reverse=True)]
        self.files["/events/md5sums"] = "\n".join(["0" * 32 + "  1979.zip", *daily, ""]).encode()
        lines = [
            f"{len(self.files.get(path, b''))} {md5} http://data.gdeltproject.org{path}"
            for path, md5 in sorted(self.parts.items())
        ]
        others = [line.replace(".export.CSV.zip", ".mentions.CSV.zip") for line in lines]
        both = [line for pair in zip(lines, others, strict=True) for line in pair]
        self.files["/gdeltv2/masterfilelist.txt"] = "\n".join([*both, ""]).encode()
        self.files["/gdeltv2/lastupdate.txt"] = "\n".join([*both[-2:], ""]).encode()

    def _put(self, path: str, content: bytes, listed: dict[str, str]) -> str:
        self.files[path] = content
        listed[path] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.relist()
        return path
