"""Clients of a running Vigie that check every response: readers, and two that follow the change feed."""

import hashlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from service.snapshots import change_feed

if TYPE_CHECKING:
    from fault_lives import RunningVigie

PATHS = ("/v1/scores", "/v1/scores/MLI", "/v1/runs", "/v1/indicators/NER", "/?lang=en")
SCORE_FIELDS = ("risk_score", "band", "escalation_probability", "onset_probability", "expected_deaths")


class Client:
    """One connection to the server, opened again whenever it breaks."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)

    def get(self, path: str, **headers: str) -> tuple[int, Any, bytes] | None:
        """Return status, headers and body; None if the connection broke."""
        try:
            self._connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            time.sleep(0.02)
            return None


class Reader(threading.Thread):
    """Reads scores, lists and pages as a client does, and notes each breach of what is promised."""

    def __init__(self, running: "RunningVigie", seed: int) -> None:
        super().__init__(daemon=True)
        self._running, self._rng, self._client = running, random.Random(seed), Client(running.port)
        self._tags: dict[str, str] = {}
        self.newest = 0
        self.counts: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.scores_by_snapshot: dict[int, set[str]] = {}

    def run(self) -> None:
        while not self._running.finished.is_set():
            path = self._rng.choice(PATHS)
            allowed = set(self._running.allowed)
            tag = self._tags.get(path, "") if self._rng.random() < 0.6 else ""
            if (response := self._client.get(path, **({"If_None_Match": tag} if tag else {}))) is None:
                self.counts["cut off"] += 1
            else:
                self._check(path, tag, *response, allowed=allowed | self._running.allowed)
            time.sleep(0.04)  # a reader, not a load test: the machine has to compute as well

    def _check(self, path: str, sent_tag: str, status: int, headers: Any, body: bytes, allowed: set[str]) -> None:
        if status == 304:
            self.counts["unchanged"] += 1
            self._expect(headers["ETag"] == sent_tag and not body, f"304 for another tag: {path}")
        elif status == 200:
            self.counts["bodies"] += 1
            tag = self._tags[path] = headers["ETag"]
            self._expect(tag == f'W/"{hashlib.sha256(body).hexdigest()}"', f"the tag is not that of the body: {path}")
            self._expect(tag != sent_tag, f"200 for a body that the client has: {path}")
            if headers["Content-Type"] == "application/json":
                self._read(path, json.loads(body))
        else:
            kind = json.loads(body)["type"].rpartition(":")[2] if b"urn:vigie:problem" in body else f"{status} {path}"
            self.counts[f"problem {kind}"] += 1
            page = path.startswith("/?") and status == 503 and "unreadable-store" in allowed
            self._expect(page or kind in allowed, f"{status} {path} {body[:300]!r}")

    def _read(self, path: str, payload: dict[str, Any]) -> None:
        number = payload["snapshot_id"]
        self._expect(number >= self.newest, f"went back from {self.newest} to {number}: {path}")
        self.newest = max(self.newest, number)
        rows = payload["data"] if path == "/v1/scores" else [payload["data"]] if path == "/v1/scores/MLI" else []
        scores = self.scores_by_snapshot.setdefault(number, set())
        scores.update(json.dumps([payload["digest"], *score_fields(row)]) for row in rows)

    def _expect(self, condition: bool, breach: str) -> None:
        if not condition:
            self.breaches.append(breach)


def score_fields(row: dict[str, Any]) -> list[Any]:
    """Return what a snapshot and a response have in common about a country."""
    return [row["location_code"], *(row[field] for field in SCORE_FIELDS)]


class ChangeFollower(threading.Thread):
    """Follows the changes from the first one by their cursor, through every fault."""

    def __init__(self, running: "RunningVigie") -> None:
        super().__init__(daemon=True)
        self._running, self._client = running, Client(running.port)
        self.seen: list[int] = []
        self.breaches: list[str] = []

    def run(self) -> None:
        cursor = "start"
        while not self._running.finished.is_set():
            response = self._client.get(f"/v1/changes?limit=3&since={cursor}", Prefer="wait=1")
            if response is None:
                continue
            status, _, body = response
            payload = json.loads(body)
            if status == 200:
                self.seen += [change_feed.cursor(change["cursor"], "MLI").after for change in payload["data"]]
                cursor = payload["next"]
            elif not payload["type"].endswith(":unreadable-store"):
                self.breaches.append(f"{status} {body[:300]!r}")


class StreamFollower(ChangeFollower):
    """Reads the changes as a stream, and goes on after the last one whenever the stream is cut off."""

    def run(self) -> None:
        self._cursor = "start"
        while not self._running.finished.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=3)
            with suppress(OSError, http.client.HTTPException), closing(connection):
                connection.request("GET", f"/v1/stream?since={self._cursor}")
                response = connection.getresponse()
                if response.status == 200:
                    self._read_events(response)
                elif b":unreadable-store" not in (body := response.read()):
                    self.breaches.append(f"{response.status} {body[:300]!r}")
            time.sleep(0.05)

    def _read_events(self, response: http.client.HTTPResponse) -> None:
        """Read complete events; one that is cut off does not count."""
        lines: list[bytes] = []
        while (line := response.readline()) and not self._running.finished.is_set():
            lines.append(line)
            if line != b"\n":
                continue
            event = dict(part.decode().rstrip("\n").partition(": ")[::2] for part in lines)
            self._cursor = event.get("id", self._cursor)
            if "data" in event:
                self.seen.append(change_feed.cursor(event["id"], "MLI").after)
            lines = []
