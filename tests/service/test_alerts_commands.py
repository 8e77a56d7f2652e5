"""`vigie alerts …` as an operator meets it: words and exit codes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from issued import Issuer
from receivers import SECRET, HookReceiver

from riskmodel import reference
from riskmodel.home import Home
from service.alerts import lifecycle, outbox, rules
from service.settings import Settings, load
from service.store.database import Store

Vigie = Callable[..., Any]


def set_route(home: Home, url: str) -> Settings:
    home.root.mkdir(parents=True, exist_ok=True)
    home.settings.write_text(
        f'allow_private_webhooks = ["127.0.0.1"]\n[routes.duty]\ntype = "webhook"\nurl = "{url}"\nsecret = "{SECRET}"\n'
    )
    return load(home)


def test_a_test_that_is_taken(home: Home, vigie: Vigie) -> None:
    with HookReceiver().listening() as receiver:
        set_route(home, receiver.url("/token-in-path"))
        said = vigie("alerts", "test", "duty")
    assert (said.code, said.out) == (0, "route 'duty' took the test\n")
    ((_, payload),) = receiver.taken
    assert payload["type"] == "alert.test"


def test_a_test_that_is_not_taken_leaves_with_4(home: Home, vigie: Vigie) -> None:
    with HookReceiver(500).listening() as receiver:
        set_route(home, receiver.url("/token-in-path"))
        said = vigie("alerts", "test", "duty")
    assert (said.code, said.out) == (4, "")
    assert "route 'duty': the receiver answered 500" in said.err
    assert "token-in-path" not in said.err


def test_an_unknown_route_is_wrong_use_and_the_known_ones_are_named(home: Home, vigie: Vigie) -> None:
    set_route(home, "http://127.0.0.1:9/")
    said = vigie("alerts", "test", "dutty")
    assert said.code == 2
    assert "no route 'dutty'; there are: duty" in said.err


def test_the_rules_in_force_are_printed(home: Home, vigie: Vigie) -> None:
    said = vigie("alerts", "rules")
    assert said.code == 0
    assert "escalation: severe; escalation_probability fires at 0.5 for 1 origin(s), clears below 0.4" in said.out
    said = vigie("alerts", "rules", "--toml")
    assert said.out == reference.text(rules.SHIPPED)


def test_a_rule_whose_route_is_not_set_is_pointed_out(home: Home, vigie: Vigie) -> None:
    home.root.mkdir(parents=True)
    home.alert_rules.write_text(
        reference.text(rules.SHIPPED).replace('severity = "severe"', 'severity = "severe"\nroute = "dutty"'),
        encoding="utf-8",
    )
    said = vigie("alerts", "rules")
    assert said.code == 0
    assert "route dutty (NOT SET" in said.out


def test_a_wrong_rule_leaves_with_3_and_is_named(home: Home, vigie: Vigie) -> None:
    home.root.mkdir(parents=True)
    home.alert_rules.write_text(
        reference.text(rules.SHIPPED).replace("clear_at = 65", "clear_at = 75"), encoding="utf-8"
    )
    said = vigie("alerts", "rules")
    assert said.code == 3
    assert "rule 'very-high-risk': clear_at: an alert must not clear above the value it fires at" in said.err


def test_an_empty_home_has_no_snapshot_to_speak_of(home: Home, vigie: Vigie) -> None:
    said = vigie("alerts", "list")
    assert said.code == 3
    assert "no snapshot" in said.err


def test_undelivered_messages_are_listed_and_settled(home: Home, vigie: Vigie) -> None:
    settings = set_route(home, "http://127.0.0.1:9/")
    store = Store.of(home)
    with store.writing() as connection:
        data = {"headline": {"en": "ALERT – Mali", "fr": "ALERTE – Mali"}}
        ids = [
            outbox.enqueue(connection, route=route, kind="firing", data=data, now=datetime.now(UTC))
            for route in ("duty", "dutty")
        ]
    outbox.deliver_due(store, settings, lambda: datetime.now(UTC))
    said = vigie("alerts", "undelivered")
    assert said.code == 0
    assert f"{ids[0]} waiting after 1 attempt(s) by 'duty': ConnectError" in said.out
    assert f"{ids[1]} waiting after 0 attempt(s) by 'dutty': {outbox.NO_ROUTE}; ALERT – Mali" in said.out
    assert vigie("alerts", "undelivered", "--dismiss", "msg_unknown").code == 2
    said = vigie("alerts", "undelivered", "--dismiss", ids[0], "--dismiss", ids[1])
    assert said.out == "no message is undelivered\n"


@pytest.mark.parametrize("simulated", [True, False])
def test_the_alerts_of_the_realm_in_service_are_listed(home: Home, vigie: Vigie, simulated: bool) -> None:
    issuer = Issuer(home.root)
    issuer.hold("simulated" if simulated else "real")
    document = issuer.issue(simulated=simulated)
    with issuer.store.writing() as connection:
        lifecycle.evaluate(
            connection,
            rules=rules.load(home),
            document=document,
            run_id=1,
            snapshot_id=1,
            now=datetime.now(UTC),
            data_age_days=10,
            causes=["new_month"],
            first=True,
        )
    said = vigie("alerts", "list")
    assert said.code == 0
    first, *alerts = said.out.splitlines()
    assert first.startswith("SIMULATED. Data as of 2022-12-31" if simulated else "Data as of 2022-12-31")
    assert [alert.split()[:2] for alert in alerts] == [["warning", "BFA"], ["warning", "MLI"]]
    assert "risk_score 86.2, since " in alerts[0]
