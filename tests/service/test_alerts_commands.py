"""Output and exit codes of `vigie alerts …`."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from receivers import SECRET, HookReceiver
from snapshot_documents import NOW, nested
from snapshots_support import SnapshotHome

from riskmodel import reference
from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.home import Home
from service.alerts import delivery, lifecycle, outbox
from service.cli.alerts import alerts
from service.settings import Settings, load
from service.store.database import Store

Vigie = Callable[..., Any]

VERY_HIGH = """
[[rule]]
name = "very-high-risk"
title = { en = "Risk is very high", fr = "Le risque est très élevé" }
metric = "risk_score"
fire_at = 70
clear_at = 65
severity = "warning"
"""

GUIDE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")


def set_route(home: Home, url: str) -> Settings:
    home.root.mkdir(parents=True, exist_ok=True)
    home.settings.write_text(
        f'allow_private_webhooks = ["127.0.0.1"]\n[routes.duty]\ntype = "webhook"\nurl = "{url}"\nsecret = "{SECRET}"\n'
    )
    return load(home)


def test_a_test_message_that_is_accepted(home: Home, vigie: Vigie) -> None:
    with HookReceiver().listening() as receiver:
        set_route(home, receiver.url("/token-in-path"))
        result = vigie("alerts", "test", "duty")
    assert (result.code, result.out) == (0, "route 'duty' accepted the test message\n")
    ((_, payload),) = receiver.taken
    assert payload["type"] == "alert.test"


def test_a_test_message_that_is_refused_ends_with_exit_code_4(home: Home, vigie: Vigie) -> None:
    with HookReceiver(500).listening() as receiver:
        set_route(home, receiver.url("/token-in-path"))
        result = vigie("alerts", "test", "duty")
    assert (result.code, result.out) == (4, "")
    assert "route 'duty': the receiver answered 500" in result.err
    assert "token-in-path" not in result.err


def test_an_unknown_route_is_a_usage_error_that_names_the_known_ones(home: Home, vigie: Vigie) -> None:
    set_route(home, "http://127.0.0.1:9/")
    result = vigie("alerts", "test", "dutty")
    assert result.code == 2
    assert "no route 'dutty'; they have: duty" in result.err


def test_the_rules_in_force_are_printed(home: Home, vigie: Vigie) -> None:
    result = vigie("alerts", "rules")
    assert result.code == 0
    shipped = next(rule for rule in rule_file.shipped() if rule.name == "escalation")
    thresholds = f"fires at {shipped.fire_at:g} for {shipped.for_origins} origin(s), clears below {shipped.clear_at:g}"
    assert f"escalation: severe; escalation_probability of the headline {thresholds}" in result.out
    result = vigie("alerts", "rules", "--toml")
    assert result.out == reference.text(rule_file.SHIPPED)


def test_a_rule_whose_route_is_not_set_is_marked(home: Home, vigie: Vigie) -> None:
    home.root.mkdir(parents=True)
    home.alert_rules.write_text(
        reference.text(rule_file.SHIPPED).replace('severity = "severe"', 'severity = "severe"\nroute = "dutty"'),
        encoding="utf-8",
    )
    result = vigie("alerts", "rules")
    assert result.code == 0
    assert "route dutty (NOT SET" in result.out


def test_a_broken_rule_ends_with_exit_code_3(home: Home, vigie: Vigie) -> None:
    home.root.mkdir(parents=True)
    home.alert_rules.write_text(
        reference.text(rule_file.SHIPPED).replace("clear_at = 101", "clear_at = 102"), encoding="utf-8"
    )
    result = vigie("alerts", "rules")
    assert result.code == 3
    assert "rule 'data-too-old': clear_at: must not be above fire_at" in result.err


@pytest.mark.parametrize("text", ["", "[[rule]]\nname = 'a'\n", "[[rule\n"])
def test_a_recompute_with_a_broken_rules_file_names_the_file_and_the_way_out(
    home: Home, vigie: Vigie, text: str
) -> None:
    home.root.mkdir(parents=True)
    home.alert_rules.write_text(text, encoding="utf-8")
    result = vigie("recompute")
    assert (result.code, result.out) == (3, "")
    assert str(home.alert_rules) in result.err
    assert "to use the rules that Vigie ships" in result.err


def test_init_writes_the_shipped_rules_and_says_what_to_do_next(home: Home, vigie: Vigie) -> None:
    result = vigie("alerts", "init")
    assert result.code == 0
    assert home.alert_rules.read_text(encoding="utf-8") == reference.text(rule_file.SHIPPED)
    assert str(home.alert_rules) in result.out
    assert f"The home is {home.root}" in result.out
    assert "vigie alerts check" in result.out
    assert vigie("alerts", "rules").code == 0


def test_init_does_not_overwrite_rules(home: Home, vigie: Vigie) -> None:
    home.root.mkdir(parents=True)
    home.alert_rules.write_text("rule = []\n", encoding="utf-8")
    result = vigie("alerts", "init")
    assert (result.code, result.out) == (1, "")
    assert "exists already" in result.err
    assert home.alert_rules.read_text(encoding="utf-8") == "rule = []\n"


def test_the_guide_shows_the_output_of_init(home: Home, vigie: Vigie) -> None:
    (example,) = re.findall(r"```console\n\$ vigie alerts init\n(.*?)```", GUIDE, re.DOTALL)
    assert vigie("alerts", "init").out == example.replace("/srv/vigie", str(home.root))


def test_every_command_of_the_guide_exists(vigie: Vigie) -> None:
    commands = set(re.findall(r"vigie (?:alerts|runs) [a-z]+", GUIDE))
    assert len(commands) > 5
    for command in commands:
        assert vigie(*command.split()[1:], "--help").code == 0, command
    documented = {command.split()[2] for command in commands if command.startswith("vigie alerts")}
    assert documented == set(alerts.commands)


def test_listing_alerts_of_an_empty_home_fails(home: Home, vigie: Vigie) -> None:
    result = vigie("alerts", "list")
    assert result.code == 3
    assert "no snapshot" in result.err


def test_undelivered_messages_are_listed_and_dismissed(home: Home, vigie: Vigie) -> None:
    settings = set_route(home, "http://127.0.0.1:9/")
    store = Store.of(home)
    with store.writing() as connection:
        data = {"headline": {"en": "ALERT – Mali", "fr": "ALERTE – Mali"}}
        ids = [
            outbox.enqueue(connection, route=route, kind="firing", data=data, now=datetime.now(UTC))
            for route in ("duty", "dutty")
        ]
    delivery.deliver_due(store, settings, lambda: datetime.now(UTC))
    result = vigie("alerts", "undelivered")
    assert result.code == 0
    assert f"{ids[0]} waiting after 1 attempt(s) by 'duty': ConnectError" in result.out
    assert f"{ids[1]} waiting after 0 attempt(s) by 'dutty': {outbox.NO_ROUTE}; ALERT – Mali" in result.out
    assert vigie("alerts", "undelivered", "--dismiss", "msg_unknown").code == 2
    result = vigie("alerts", "undelivered", "--dismiss", ids[0], "--dismiss", ids[1])
    assert result.out == "all messages are delivered or dismissed\n"


@pytest.mark.parametrize("simulated", [True, False])
def test_the_alerts_of_the_realm_in_service_are_listed(home: Home, vigie: Vigie, simulated: bool) -> None:
    issuer = SnapshotHome(home.root)
    home.alert_rules.write_text(VERY_HIGH, encoding="utf-8")
    issuer.add_ingests("simulated" if simulated else "real")
    document = issuer.issue(simulated=simulated)
    with issuer.store.writing() as connection:
        lifecycle.evaluate(
            connection,
            rules=rule_file.load(home, DEFAULT_BANDS),
            document=nested(document),
            run_id=1,
            snapshot_id=1,
            now=NOW,
            causes=["first"],
        )
    result = vigie("alerts", "list")
    assert result.code == 0
    first, *lines = result.out.splitlines()
    assert first.startswith("SIMULATED. Data as of 2022-12-31" if simulated else "Data as of 2022-12-31")
    assert [line.split()[:2] for line in lines] == [["warning", "BFA"], ["warning", "MLI"]]
    assert "risk_score 86.2, since " in lines[0]
