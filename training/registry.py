"""The models of a home and the journal of their service: which model was put into service or shadow, when and why.

The pointers of `riskmodel.bundle` name the models in service and in the shadow now. The journal records every change,
so that a rollback finds the model before.
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
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES

JOURNAL_FILE = "promotions.jsonl"
ACTION_LABELS = {
    "first": "the first model",
    "replacement": "replaced a model that can no longer serve, or that knew only the shipped history",
    "refit": "refit of the model before",
    "gate": "through the gate",
    "force": "past the gate, by force",
    "rollback": "rolled back to",
    "shadow": "started in the shadow of the model in service",
    "shadow_off": "taken out of the shadow",
}
"""The actions of the journal, and what people read for them."""
SHADOW_ACTIONS = ("shadow", "shadow_off")
"""Actions that do not change the model in service."""


@dataclass(frozen=True)
class JournalEntry:
    """A model put into service or into the shadow, or taken out of it.

    `at` is ISO 8601 in UTC, `action` a key of `ACTION_LABELS`, `checks` what the gate found. Each outcome has its own
    model in service, for simulated and for real data.
    """

    at: str
    model: str
    simulated: bool
    outcome: str
    action: str
    reason: str = ""
    checks: tuple[dict[str, Any], ...] = ()
    windows: tuple[str, ...] = ()


def promote(models: Path, entry: JournalEntry) -> None:
    """Put a model into service and record it. Raises Refused for a model that is damaged."""
    with _locked(models):
        before, entries = _in_service(models, entry.simulated, entry.outcome), read_journal(models)
        served = _service_stack(entries, entry.simulated, entry.outcome)
        if before and before != (served[-1] if served else None):
            reason = "it was in service before this journal"
            entries.append(JournalEntry(entry.at, before, entry.simulated, entry.outcome, "first", reason))
        _serve(models, entry.model, entry.simulated, entry.outcome)
        _write_journal(models, [*entries, entry])


def start_shadow(models: Path, entry: JournalEntry) -> None:
    """Run a model in the shadow of the one in service, in place of any other, and record it.

    Raises Refused for a model that is damaged or in service.
    """
    with _locked(models):
        if entry.model == _in_service(models, entry.simulated, entry.outcome):
            raise Refused(f"{entry.model} is in service: only another model can run in its shadow")
        entries = read_journal(models)
        bundle.set_challenger(models, entry.model)
        _write_journal(models, [*entries, entry])


def stop_shadow(models: Path, outcome: str, *, simulated: bool, at: str, reason: str) -> str:
    """Take the model of an outcome out of the shadow, and return its name. Raises Refused where there is none."""
    with _locked(models):
        path = bundle.challenger(models, simulated=simulated, outcome=outcome)
        if path is None:
            raise Refused(f"no model of {OUTCOME_LABELS[outcome]['en']} runs in the shadow")
        entries = read_journal(models)
        bundle.remove_challenger(models, simulated=simulated, outcome=outcome)
        _write_journal(models, [*entries, JournalEntry(at, path.name, simulated, outcome, "shadow_off", reason)])
    return path.name


def rollback(models: Path, outcome: str, *, simulated: bool, at: str, reason: str) -> tuple[str, str]:
    """Put the model of an outcome before the present one back into service. Return the present one and the one before.

    Raises Refused where there is no model before, or it is damaged.
    """
    with _locked(models):
        entries, present = read_journal(models), _in_service(models, simulated, outcome)
        served = _service_stack(entries, simulated, outcome)
        if present is None or len(served) < 2 or served[-1] != present:
            raise Refused(f"there is no earlier model of {OUTCOME_LABELS[outcome]['en']} to go back to")
        _serve(models, served[-2], simulated, outcome)
        _write_journal(models, [*entries, JournalEntry(at, served[-2], simulated, outcome, "rollback", reason)])
    return present, served[-2]


def read_journal(models: Path) -> list[JournalEntry]:
    """Return all entries, oldest first. Raises Refused for a journal that cannot be read."""
    path = models / JOURNAL_FILE
    if not path.exists():
        return []
    try:
        contents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            JournalEntry(**{**content, "checks": tuple(content["checks"]), "windows": tuple(content["windows"])})
            for content in contents
        ]
    except (ValueError, TypeError, KeyError):
        raise Refused(f"{path} cannot be read; move it away to begin a new journal (the models stay)") from None


def model_names(models: Path) -> list[str]:
    """Return the names of all models, sorted. A model is a folder with a manifest."""
    return sorted(
        path.parent.name for path in models.glob(f"*/{bundle.MANIFEST_FILE}") if not path.parent.name.startswith(".")
    )


def list_models(models: Path) -> list[dict[str, Any]]:
    """Return the facts of each model, the last trained one last; `damaged` is why a model cannot be read."""
    kinds = [(simulated, outcome) for simulated in (False, True) for outcome in OUTCOMES]
    serving = {_in_service(models, *kind) for kind in kinds}
    shadows = {_in_shadow(models, *kind) for kind in kinds}
    entries, listed = read_journal(models), []
    for name in model_names(models):
        facts: dict[str, Any] = {
            "model": name,
            "in_service": name in serving,
            "in_shadow": name in shadows,
            "damaged": None,
        }
        try:
            provenance = bundle.read_provenance(models / name)
            facts |= {
                "simulated": provenance.simulated,
                "outcome": provenance.outcome,
                "origin": provenance.origin,
                "trained_at": provenance.trained_at,
                "seed": provenance.seed,
                "data_digest": provenance.data_digest,
                "configuration": provenance.configuration,
                "outdated": bundle.outdated_reason(models / name),
            }
        except Refused as refused:
            facts["damaged"] = str(refused)
        promotions = [entry for entry in entries if entry.model == name and entry.action not in SHADOW_ACTIONS]
        last = promotions[-1] if promotions else None
        facts["promoted"] = {"at": last.at, "action": last.action, "reason": last.reason} if last else None
        listed.append(facts)
    return sorted(listed, key=lambda facts: facts.get("trained_at", ""))


def _locked(models: Path) -> FileLock:
    """Lock the journal: two commands at once must not lose each other's entry."""
    return FileLock(models / ".promotions.lock")


def _service_stack(entries: Sequence[JournalEntry], simulated: bool, outcome: str) -> list[str]:
    """Return the models that were in service, the present one last; a rollback removes the one it left."""
    served: list[str] = []
    for entry in entries:
        if (entry.simulated, entry.outcome) == (simulated, outcome) and entry.action not in SHADOW_ACTIONS:
            if entry.action == "rollback":
                served.pop()
            elif served[-1:] != [entry.model]:
                served.append(entry.model)
    return served


def _serve(models: Path, name: str, simulated: bool, outcome: str) -> None:
    """Put a model into service, and take it out of the shadow if it is there."""
    in_shadow = _in_shadow(models, simulated, outcome)
    bundle.set_champion(models, name)
    if in_shadow == name:
        bundle.remove_challenger(models, simulated=simulated, outcome=outcome)


def _in_service(models: Path, simulated: bool, outcome: str) -> str | None:
    path = bundle.champion(models, simulated=simulated, outcome=outcome)
    return path.name if path else None


def _in_shadow(models: Path, simulated: bool, outcome: str) -> str | None:
    path = bundle.challenger(models, simulated=simulated, outcome=outcome)
    return path.name if path else None


def _write_journal(models: Path, entries: Sequence[JournalEntry]) -> None:
    with atomic_write(models / JOURNAL_FILE) as part:
        lines = (json.dumps(asdict(entry), sort_keys=True) for entry in entries)
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
