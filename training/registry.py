"""Which models have been in service or in its shadow, when and why: a journal beside the models, and the way back.

The pointers that `bundle` keeps say what is there; the journal says how it came there. It knows no scores.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from riskmodel import bundle
from riskmodel.errors import Refused
from riskmodel.home import atomic_write

JOURNAL = "promotions.jsonl"
HOW = {
    "first": "the first model",
    "replacement": "in place of one that can serve no more",
    "gate": "through the gate",
    "force": "past the gate, by force",
    "rollback": "rolled back to",
    "shadow": "put into the shadow of the model in service",
    "shadow_off": "taken out of the shadow",
}
SHADOW = ("shadow", "shadow_off")
"""What happens beside the service and not in it."""


@dataclass(frozen=True)
class Promotion:
    """A model put into service, or into its shadow: `at` is ISO 8601 in UTC, `how` one of `HOW`.

    `checks` are what the gate found.
    """

    at: str
    name: str
    simulated: bool
    how: str
    why: str = ""
    checks: tuple[dict[str, Any], ...] = ()
    windows: tuple[str, ...] = ()


def promote(models: Path, entry: Promotion) -> None:
    """Put a model into service and write down why. Raises Refused for one that is not whole."""
    with FileLock(models / ".promotions.lock"):
        before, kept = _in_service(models, entry.simulated), journal(models)
        known = _stack(kept, entry.simulated)
        if before and before != (known[-1] if known else None):
            kept.append(Promotion(entry.at, before, entry.simulated, "first", "it was in service before this journal"))
        _serve(models, entry.name, simulated=entry.simulated)
        _write(models, [*kept, entry])


def shadow(models: Path, entry: Promotion) -> None:
    """Let a model run in the shadow of the one in service, in place of any other, and write it down.

    Raises Refused for one that is not whole, or that is in service.
    """
    with FileLock(models / ".promotions.lock"):
        if entry.name == _in_service(models, entry.simulated):
            raise Refused(f"{entry.name} is in service: the shadow is for another model")
        kept = journal(models)
        bundle.set_challenger(models, entry.name)
        _write(models, [*kept, entry])


def unshadow(models: Path, *, simulated: bool, at: str, why: str) -> str:
    """Take the model in the shadow out of it; returns its name. Raises Refused where there is none."""
    with FileLock(models / ".promotions.lock"):
        path = bundle.challenger(models, simulated=simulated)
        if path is None:
            raise Refused("no model runs in the shadow")
        kept = journal(models)
        bundle.drop_challenger(models, simulated=simulated)
        _write(models, [*kept, Promotion(at, path.name, simulated, "shadow_off", why)])
    return path.name


def rollback(models: Path, *, simulated: bool, at: str, why: str) -> tuple[str, str]:
    """Put the model before the present one back into service; returns what was, and what is now.

    Raises Refused where there is none before it, or where that is not whole any more.
    """
    with FileLock(models / ".promotions.lock"):
        kept, now = journal(models), _in_service(models, simulated)
        served = _stack(kept, simulated)
        if now is None or len(served) < 2 or served[-1] != now:
            raise Refused("there is no earlier model to go back to")
        _serve(models, served[-2], simulated=simulated)
        _write(models, [*kept, Promotion(at, served[-2], simulated, "rollback", why)])
    return now, served[-2]


def journal(models: Path) -> list[Promotion]:
    """All promotions, oldest first. Raises Refused for a journal that cannot be read."""
    path = models / JOURNAL
    if not path.exists():
        return []
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            Promotion(**{**entry, "checks": tuple(entry["checks"]), "windows": tuple(entry["windows"])})
            for entry in entries
        ]
    except (ValueError, TypeError, KeyError):
        raise Refused(f"{path} is not as it was written") from None


def names(models: Path) -> list[str]:
    """The folders that hold a manifest, in order of their names."""
    return sorted(
        path.parent.name for path in models.glob(f"*/{bundle.MANIFEST}") if not path.parent.name.startswith(".")
    )


def listed(models: Path) -> list[dict[str, Any]]:
    """What is to be said of each model, the last trained last; `damaged` says why one cannot be read."""
    serving = {_in_service(models, simulated) for simulated in (False, True)}
    shadows = {path.name for simulated in (False, True) if (path := bundle.challenger(models, simulated=simulated))}
    entries, rows = journal(models), []
    for name in names(models):
        row: dict[str, Any] = {
            "model": name,
            "in_service": name in serving,
            "in_shadow": name in shadows,
            "damaged": None,
        }
        try:
            facts = bundle.provenance(models / name)
            row |= {
                "simulated": facts.simulated,
                "outcome": facts.outcome,
                "origin": facts.origin,
                "trained_at": facts.trained_at,
                "seed": facts.seed,
                "configuration": facts.configuration,
                "outgrown": bundle.outgrown(models / name),
            }
        except Refused as refused:
            row["damaged"] = str(refused)
        served = [entry for entry in entries if entry.name == name and entry.how not in SHADOW]
        last = served[-1] if served else None
        row["promoted"] = {"at": last.at, "how": last.how, "why": last.why} if last else None
        rows.append(row)
    return sorted(rows, key=lambda row: row.get("trained_at", ""))


def _stack(entries: Sequence[Promotion], simulated: bool) -> list[str]:
    """The models in service one over the other: what a rollback takes off is gone."""
    served: list[str] = []
    for entry in entries:
        if entry.simulated == simulated and entry.how not in SHADOW:
            if entry.how == "rollback":
                served.pop()
            elif served[-1:] != [entry.name]:
                served.append(entry.name)
    return served


def _serve(models: Path, name: str, *, simulated: bool) -> None:
    """Put a model into service; one that was in the shadow is there no more."""
    shadowing = bundle.challenger(models, simulated=simulated)
    bundle.set_champion(models, name)
    if shadowing is not None and shadowing.name == name:
        bundle.drop_challenger(models, simulated=simulated)


def _in_service(models: Path, simulated: bool) -> str | None:
    path = bundle.champion(models, simulated=simulated)
    return path.name if path else None


def _write(models: Path, entries: Sequence[Promotion]) -> None:
    with atomic_write(models / JOURNAL) as part:
        lines = (json.dumps(asdict(entry), sort_keys=True) for entry in entries)
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
