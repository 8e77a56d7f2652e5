"""Output and exit codes of `vigie alerts list | check | ack | silence | history`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots_support import ALERT, SnapshotHome, full_home

from riskmodel.home import Home

Vigie = Callable[..., Any]


@pytest.fixture
def full(home: Home) -> SnapshotHome:
    return full_home(home.root)


def test_an_alert_is_acknowledged_silenced_and_its_history_shown(full: SnapshotHome, vigie: Vigie) -> None:
    assert f"[{ALERT}]" in vigie("alerts", "list").out
    done = vigie("alerts", "ack", ALERT, "--by", "Issa", "--note", "called Mopti")
    assert (done.code, done.out) == (0, f"{ALERT} is acknowledged by Issa\n")
    assert f"acknowledged by Issa [{ALERT}]" in vigie("alerts", "list", "--state", "acknowledged").out
    assert vigie("alerts", "ack", ALERT, "--by", "Awa", "--undo").code == 0
    silenced = vigie("alerts", "silence", "--severity", "warning", "--for", "8h", "--reason", "exercise", "--by", "Awa")
    assert silenced.code == 0
    silence_id = re.findall(r"sil_\w{32}", silenced.out)[0]
    assert f"{silence_id} severity=warning: exercise, by Awa, lasts until" in vigie("alerts", "history").out
    assert vigie("alerts", "silence", "--end", silence_id, "--by", "Awa").code == 0
    again = vigie("alerts", "silence", "--end", silence_id, "--by", "Awa")
    assert (again.code, "ended on" in again.err) == (3, True)
    history = vigie("alerts", "history", ALERT).out
    assert re.search(r"acknowledged: by Issa; called Mopti\n.*unacknowledged: by Awa", history)
    assert f"[{ALERT}]" not in vigie("alerts", "history", "--country", "SEN").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("list", "--state", "burning"), 2, "'burning' is none of pending, firing"),
        (("ack", f"alr_{'f' * 32}", "--by", "Awa"), 3, "there is none with this id"),
        (("silence", "--rule", "x", "--for", "8 hours", "--reason", "x", "--by", "Awa"), 2, "30m, 8h or 2d"),
        (("silence", "--rule", "x", "--for", "8h", "--reason", "x", "--by", "Awa"), 3, "no rule reads 'x'"),
        (("silence", "--for", "8h", "--reason", "x", "--by", "Awa"), 3, "would hide everything"),
        (("silence", "--rule", "x", "--by", "Awa"), 2, "give --reason, and either --for or --until"),
        (("history", f"alr_{'f' * 32}"), 3, "there is no alert"),
    ],
)
def test_wrong_arguments_are_named(
    home: Home, vigie: Vigie, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = vigie("alerts", *arguments)
    assert (result.code, message in result.err) == (code, True), result.err


def test_an_error_in_the_rules_is_named_with_its_line(home: Home, vigie: Vigie) -> None:
    assert "rules, no error" in vigie("alerts", "check").out
    home.root.mkdir(parents=True, exist_ok=True)
    Path(home.alert_rules).write_text('[[rule]]\nname = "grave"\nmetric = "risk"\n')
    result = vigie("alerts", "check")
    assert result.code == 3
    assert "line 3: rule 'grave': metric: must be one of" in result.err
