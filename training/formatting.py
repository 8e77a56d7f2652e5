"""Format scores and their intervals as text, the same in a terminal and on a model card."""

from collections.abc import Callable

import numpy as np

from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.scoring import Estimate
from training.results import BATTLE_MONTH, ESCALATION, ONSET

INTERVAL_HEADING = "90 % interval"
LABELS = {
    "crps": "CRPS",
    "log_crps": "log-CRPS",
    "ign": "IGN",
    "mis": "MIS",
    "brier_25": "Brier ≥ 25",
    "within_50": "in 50 %",
    "within_90": "in 90 %",
    BATTLE_MONTH: "a month of 25 deaths or more",
    ESCALATION: "escalation",
    ONSET: "onset",
}
"""What people read for the names of scores and events."""
UNKNOWN = "–"
_FORMATS: dict[str, Callable[[float], str]] = {
    "crps": "{:.3f}".format,
    "mis": "{:.1f}".format,
    "within_50": "{:.1%}".format,
    "within_90": "{:.1%}".format,
    "events": "{:.0f}".format,
    "auroc": "{:.3f}".format,
    "average_precision": "{:.3f}".format,
    "difference": "{:+.1%}".format,
    "share": "{:.2f}".format,
    "won_back": "{:.0%}".format,
    "months": "{:.0f}".format,
}


def format_outcome(outcome: str) -> str:
    """Return an outcome in words: `deaths in state-based conflict`."""
    return f"deaths in {OUTCOME_LABELS[outcome]['en']}"


def format_value(kind: str, value: float | None) -> str:
    """Format a value of a kind (the name of a score, or `difference`, `share`, `months`); a dash for NaN and None."""
    return UNKNOWN if value is None or np.isnan(value) else _FORMATS.get(kind, "{:.4f}".format)(value)


def format_estimate(kind: str, estimate: Estimate, *, signed: bool = False) -> tuple[str, str]:
    """Format an estimate and its interval; `signed` writes + before positive numbers."""
    value, low, high = (format_value(kind, number) for number in (estimate.value, estimate.low, estimate.high))
    if signed:
        value, low, high = (
            text if text == UNKNOWN or text.startswith("-") else f"+{text}" for text in (value, low, high)
        )
    return value, f"{low} to {high}" if np.isfinite(estimate.low) else UNKNOWN


def format_share(share: Estimate, *, signed: bool = False) -> str:
    """Format a share with its interval in brackets."""
    value, interval = format_estimate("share", share, signed=signed)
    return f"{value} ({interval})"


def format_difference(estimate: Estimate) -> tuple[str, str]:
    """Format a relative difference of losses and its interval."""
    return format_estimate("difference", estimate)
