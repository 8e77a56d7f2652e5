"""How many bodies and requests are under way at once: in total, and of one address."""

import queue
import threading

import pytest
from flask import Flask
from gated import FAR, Gated, bearer, begin_post, problem_kind

from riskmodel.home import Home
from service.http import front


@pytest.fixture
def gated(home: Home) -> Gated:
    return Gated(home)


def test_slow_bodies_take_a_bounded_number_of_places(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MAX_BODIES", 4)
    client = gated.client()
    assert client.post("/", headers=bearer(gated.writer)).status_code == 200, "the keys have been read"
    slow = [begin_post(client, gated.writer, Content_Length="5") for _ in range(4)]
    for exchange in slow:
        exchange.send(b"xx", more=True)
    beyond = begin_post(client, gated.writer, Content_Length="5").response(5)
    assert (beyond.status_code, problem_kind(beyond)) == (503, "busy")
    assert client.get("/").status_code == 200
    for exchange in slow:
        with pytest.raises(queue.Empty):
            exchange.start(0.01)
        exchange.send(b"xxx")
    assert [exchange.response().json["body"] for exchange in slow] == [5] * 4
    assert client.post("/", headers=bearer(gated.writer), data=b"x").status_code == 200, "places are free again"


def test_an_address_has_a_limited_number_of_bodies_under_way(gated: Gated) -> None:
    client = gated.client(limits={"in_flight_per_address": 2, "loopback": True})
    assert client.post("/", headers=bearer(gated.writer)).status_code == 200, "the keys have been read"
    slow = [begin_post(client, gated.writer, Content_Length="5") for _ in range(2)]
    for exchange in slow:
        exchange.send(b"xx", more=True)
    beyond = begin_post(client, gated.writer, Content_Length="5").response(5)
    assert (beyond.status_code, problem_kind(beyond)) == (503, "busy")
    other = client.post("/", headers=bearer(gated.writer), data=b"x", remote=FAR)
    assert other.status_code == 200, "another address is not affected"
    for exchange in slow:
        exchange.disconnect()
        assert problem_kind(exchange.response()) == "unreadable-request"
    assert client.post("/", headers=bearer(gated.writer), data=b"x").status_code == 200, "places are free again"


class Blocked:
    """An application whose responses wait until `go_on` is set. `entered` counts those that wait."""

    def __init__(self) -> None:
        self.app, self.entered, self.go_on = Flask("blocked"), threading.Semaphore(0), threading.Event()
        self.app.add_url_rule("/<path:path>", view_func=self._wait)

    def _wait(self, path: str) -> str:
        self.entered.release()
        self.go_on.wait(20)
        return path


def test_an_address_has_a_limited_number_of_requests_in_flight(gated: Gated) -> None:
    blocked = Blocked()
    client = gated.client(app=blocked.app, limits={"in_flight_per_address": 3, "loopback": True})
    running = [client.begin(f"/{number}") for number in range(3)]
    for _ in running:
        assert blocked.entered.acquire(timeout=10)
    beyond = client.get("/beyond")
    assert (beyond.status_code, problem_kind(beyond)) == (503, "busy")
    other = client.begin("/other", remote=FAR)
    assert blocked.entered.acquire(timeout=10), "another address is not affected"
    joined = client.begin("/0", remote=FAR)
    blocked.go_on.set()
    assert [exchange.response().status_code for exchange in (*running, other, joined)] == [200] * 5
    assert client.get("/again").status_code == 200, "places are free again"


def test_this_machine_is_not_limited_in_flight_unless_set(gated: Gated) -> None:
    blocked = Blocked()
    client = gated.client(app=blocked.app, limits={"in_flight_per_address": 1})
    running = [client.begin(f"/{number}") for number in range(5)]
    for _ in running:
        assert blocked.entered.acquire(timeout=10)
    forwarded = {"X-Forwarded-For": "203.0.113.5"}
    through_proxy = client.begin("/proxy", headers=forwarded)
    assert blocked.entered.acquire(timeout=10)
    assert problem_kind(client.get("/beyond", headers=forwarded)) == "busy"
    blocked.go_on.set()
    assert [exchange.response().status_code for exchange in (*running, through_proxy)] == [200] * 6
