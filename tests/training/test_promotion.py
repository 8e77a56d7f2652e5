"""The way into service: the first model, the gate, force, and a model that can no longer serve."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel.errors import Refused
from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]
InService = Callable[[], str]


def test_a_model_goes_through_the_gate_or_stays_outside(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    first = vigie("train", "--model", "promoted:vague")
    assert "now in service" in first.out, first.err
    vague = in_service()
    assert f"{vague} is in service already" in vigie("train", "--model", "promoted:vague").out

    poor = vigie("train", "--model", "promoted:zero")
    assert poor.code == 0, "a model that was trained and stored is no failure"
    assert "NOT MET" in poor.out
    assert in_service() == vague
    zero = next(name for name in registry.model_names(home.models) if name != vague)
    last_line = poor.out.splitlines()[-1]
    assert (
        last_line == f"{zero} is stored but does not pass the gate: {vague} stays in service for state-based conflict"
    )

    better = vigie("train", "--model", "promoted:seer")
    seer = in_service()
    assert better.out.splitlines()[-1] == f"{seer} passes the gate and is now in service for state-based conflict"
    assert "windows 2006, 2007, 2008, 2009, data" in better.out
    assert "the model in service" in better.out
    assert "NOT MET" not in better.out
    assert seer not in (vague, zero)

    refused = vigie("promote", zero)
    assert refused.code == Refused.exit_code
    assert "NOT MET" in refused.out
    assert "does not pass the gate" in refused.err
    assert in_service() == seer
    worse = vigie("promote", vague, "--windows", "2007:2009")
    assert worse.code == Refused.exit_code
    assert re.search(r"the model in service +IGN +not worse .* NOT MET", worse.out)

    assert vigie("promote", zero, "--force", "  ").code == 2
    assert vigie("promote", zero, "--force", "a trial of the way back").code == 0
    assert in_service() == zero
    assert re.search(rf"{zero} .* yes .* past the gate", vigie("models").out)
    assert (
        f"{seer} is in service again for state-based conflict, in place of {zero}"
        in vigie("rollback", "--why", "as planned").out
    )
    assert f"{vague} is in service again for state-based conflict, in place of {seer}" in vigie("rollback").out
    assert vigie("rollback").code == Refused.exit_code
    assert in_service() == vague
    listed = json.loads(vigie("models", "--format", "json").out)
    assert {row["model"] for row in listed} == {zero, seer, vague}
    assert [row["model"] for row in listed if row["in_service"]] == [vague]
    recorded = [(entry.model, entry.action, entry.reason) for entry in registry.read_journal(home.models)]
    assert recorded == [
        (vague, "first", ""),
        (seer, "gate", ""),
        (zero, "force", "a trial of the way back"),
        (seer, "rollback", "as planned"),
        (vague, "rollback", ""),
    ]


def test_a_champion_that_can_no_longer_serve_is_replaced_without_the_gate(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    vigie("train", "--model", "promoted:seer")
    path = home.models / in_service()
    (path / "model.pickle").write_bytes(b"")
    done = vigie("train", "--model", "promoted:zero")
    assert "now in service" in done.out
    assert "gate" not in done.out
    assert in_service() != path.name
    row = next(row for row in json.loads(vigie("models", "--format", "json").out) if row["model"] == path.name)
    assert "was altered" in row["damaged"]
    assert vigie("rollback").code == Refused.exit_code
    assert in_service() != path.name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["promote", "nothing"], 3, "no models are called nothing; there are: none"),
        (["promote", "x", "--windows", "soon"], 2, "neither a year"),
        (["card"], 3, "no model is in service"),
        (["card", "nothing"], 3, "no models are called nothing"),
        (["rollback"], Refused.exit_code, "there is no earlier model"),
    ],
)
def test_commands_on_models_that_are_not_there_are_refused(
    vigie: Vigie, archive: None, arguments: list[str], code: int, message: str
) -> None:
    done = vigie(*arguments)
    assert (done.code, message in done.err) == (code, True), done.err
    assert "there is no model yet" in vigie("models").out
