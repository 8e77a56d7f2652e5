"""Refits: when the model in service is due to be fitted to newer data, why, and how the last attempt ended.

Importing this module loads neither pandas nor the models: the web process uses it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from riskmodel import bundle
from riskmodel.events import manifest
from riskmodel.events.manifest import Ingest
from riskmodel.home import atomic_write
from riskmodel.home_settings import RefitPolicy
from riskmodel.months import Month, Months, span

if TYPE_CHECKING:
    from riskmodel.events.view import View

Result = Literal["started", "done", "refused", "failed"]
Why = Literal["december", "year", "month", "revised"]

REVISED_SHARE = 0.1
"""A model is refitted once so large a share of the deaths of the last `REVISED_MONTHS` it learned from was revised."""
REVISED_MONTHS = 60
MONTHS_PER_YEAR = 12
ATTEMPT = "refit"
"""The name of the file of the last attempt, next to the pointers of `bundle`."""
WAIT = timedelta(days=1)
"""How long after a failed attempt the next one can start."""


@dataclass(frozen=True)
class Attempt:
    """An attempt to refit the model `model`, and its inputs. `at` is ISO 8601 in UTC; `reason` says why it failed."""

    at: str
    model: str
    data_digest: str
    vigie: str
    result: Result = "started"
    reason: str = ""


@dataclass(frozen=True)
class RefitState:
    """Whether a model is due to be refitted. Months are months of data, YYYY-MM.

    `age_months` is how much newer the data are than those that the model learned from. `due_month` is the month of data
    with which it was, or will be, due. `overdue`: it is due, and no refit is to be expected without an operator, or it
    should have happened a month ago.
    """

    policy: RefitPolicy
    age_months: int
    due: bool
    why: Why | None
    due_month: str
    overdue: bool
    last_attempt: Attempt | None = None

    @property
    def description(self) -> str:
        """Why it is due, or when it will be, in words."""
        return {
            "december": f"the data have reached {self.due_month}",
            "year": f"the data are {self.age_months} months newer than those that the model learned from",
            "month": f"the data have reached {self.due_month}",
            "revised": f"more than {REVISED_SHARE:.0%} of the recent deaths that the model learned from were revised",
            None: f"due when the data reach {self.due_month}",
        }[self.why]


def refit_state(
    model_origin: Month,
    data_origin: Month,
    policy: RefitPolicy,
    *,
    revised_share: float | None = None,
    attempt: Attempt | None = None,
    blocked: bool = False,
) -> RefitState:
    """Return whether the model of an outcome is due to be refitted, why, and when it is due next.

    `yearly` and `off`: each time the data reach a December, and at the latest when they are twelve months newer than
    those of the model; with `off` nothing refits it. `monthly`: with each new month. Always: when more than
    `REVISED_SHARE` of the recent deaths were revised. `blocked`: the last attempt failed, and will not be repeated yet.
    """
    age = int((data_origin - model_origin).astype(int))
    after_december = int(str(model_origin)[5:]) % MONTHS_PER_YEAR
    months_until = 1 if policy == "monthly" else MONTHS_PER_YEAR - after_december
    why: Why | None = None
    if age >= months_until:
        why = "month" if policy == "monthly" else "year" if age >= MONTHS_PER_YEAR else "december"
    elif revised_share is not None and revised_share > REVISED_SHARE:
        why = "revised"
    return RefitState(
        policy=policy,
        age_months=age,
        due=why is not None,
        why=why,
        due_month=str(data_origin if why == "revised" else model_origin + months_until),
        overdue=why is not None and (policy == "off" or blocked or age > months_until),
        last_attempt=attempt,
    )


def is_blocked(attempt: Attempt | None, model: str, data_digest: str, vigie: str, now: datetime) -> bool:
    """Return whether no attempt to refit `model` may start now, because the last one failed.

    One that failed, was refused or did not end is not repeated with the same data and version of Vigie, and not within
    a day. An attempt that succeeded is one at another model: that before.
    """
    if attempt is None or attempt.model != model:
        return False
    same_inputs = (attempt.data_digest, attempt.vigie) == (data_digest, vigie)
    return same_inputs or now - datetime.fromisoformat(attempt.at) < WAIT


def last_attempt(models: Path, *, simulated: bool, outcome: str) -> Attempt | None:
    """Return the last attempt to refit the model of an outcome; None where there is none, or its file is damaged."""
    try:
        return Attempt(**json.loads(_attempt_file(models, simulated, outcome).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def record_attempt(models: Path, attempt: Attempt, *, simulated: bool, outcome: str) -> None:
    """Store an attempt in place of the last one."""
    with atomic_write(_attempt_file(models, simulated, outcome)) as part:
        part.write_text(json.dumps(asdict(attempt), indent=1) + "\n", encoding="utf-8")


def revised_share(
    view: "View", ingests: Sequence[Ingest], outcome: str, model_origin: Month, trained_at: str, data_digest: str
) -> float | None:
    """Return the share of the deaths a model learned from that were revised since.

    It is the sum of absolute changes over country-months, by the deaths known at the training, in the `REVISED_MONTHS`
    up to the model's origin. `ingests` are all of the archive; `trained_at` and `data_digest` are those of the model.
    None where the archive of then is not to be had any more. No data are read if those of then and now are the same.
    """
    if view.digest == data_digest:
        return 0.0
    then = manifest.active(tuple(_as_of(ingest, trained_at) for ingest in ingests if ingest.ingested_at <= trained_at))
    if manifest.digest(then) != data_digest:
        return None
    if _deaths_of(then) == _deaths_of(view.ingests):
        return 0.0
    months = span(model_origin - REVISED_MONTHS + 1, model_origin)
    before, now = view.with_ingests(then), view
    iso3 = sorted({*before.outcomes().iso3, *now.outcomes().iso3})
    old, new = (_table(each, outcome, iso3, months) for each in (before, now))
    return float(np.abs(new - old).sum() / max(old.sum(), 1.0))


def forget_attempt(models: Path, *, simulated: bool, outcome: str) -> None:
    """Delete the last attempt, so that the next one can start at once: it was interrupted from outside."""
    _attempt_file(models, simulated, outcome).unlink(missing_ok=True)


def _attempt_file(models: Path, simulated: bool, outcome: str) -> Path:
    return bundle.pointer(models, ATTEMPT, simulated=simulated, outcome=outcome)


def _as_of(ingest: Ingest, moment: str) -> Ingest:
    """Return the ingest as it stood at a moment: not yet withdrawn, if it was withdrawn later."""
    later = ingest.withdrawn_at is not None and ingest.withdrawn_at > moment
    return replace(ingest, withdrawn_at=None, withdrawn_reason=None) if later else ingest


def _deaths_of(ingests: Sequence[Ingest]) -> list[str]:
    return [ingest.id for ingest in ingests if ingest.kind in manifest.OUTCOME_KINDS]


def _table(view: "View", outcome: str, iso3: Sequence[str], months: Months) -> NDArray[np.float64]:
    """Return deaths by country and month; an unknown number counts as none, so that new knowledge is a revision."""
    observed = view.outcomes()
    table = np.zeros((len(iso3), len(months)))
    rows = np.array([iso3.index(code) for code in observed.iso3], dtype=np.intp)
    _, here, there = np.intersect1d(months, observed.months, return_indices=True)
    table[np.ix_(rows, here)] = np.nan_to_num(observed.deaths[outcome][:, there])
    return table
