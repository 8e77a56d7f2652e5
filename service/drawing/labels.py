"""English labels of codes (bands, reasons, severities, units), which are also the keys of translations.

A code without a label is shown as it is: the name of a band that the operator chose needs no translation.
"""

from service.snapshots import outcome_parts

BAND_LABELS = {
    "minimal": "minimal",
    "low": "low",
    "moderate": "moderate",
    "high": "high",
    "very high": "very high",
    "extreme": "extreme",
}
STATUS_LABELS = {"fresh": "up to date", "late": "late", "stale": "out of date", "history": "history"}
OUTCOME_MEANINGS = {
    "all": "state-based conflict, violence between non-state groups, and one-sided violence against civilians",
    "state_based": "armed conflict in which at least one side is a state",
}
"""What the outcomes count. Their names are in `riskmodel.outcomes`."""
MISSING_OUTCOME_LABELS, MISSING_OUTCOME_ACTIONS = outcome_parts.MISSING_REASONS, outcome_parts.MISSING_ACTIONS
SEVERITY_LABELS = {"info": "information", "warning": "warning", "severe": "severe"}
ALERT_STATE_LABELS = {
    "ok": "ended before it fired",
    "pending": "pending",
    "firing": "firing",
    "resolved": "over",
    "corrected": "corrected: it should not have fired",
    "expired": "expired: not known to be over",
    "acknowledged": "acknowledged",
    "unacknowledged": "acknowledgement taken back",
    "silenced": "silenced",
    "silence_ended": "silence ended",
}
"""The state of an alert, and what people did about it."""
MESSAGE_KIND_LABELS = {
    "firing": "start",
    "resolved": "end",
    "corrected": "correction",
    "expired": "expiry",
    "rule_changed": "changed rule",
    "correction": "correction",
    "summary": "summary",
    "digest": "digest",
    "reminder": "reminder",
}
"""Kinds of messages about alerts."""
DELIVERY_LABELS = {"waiting": "not sent yet", "sent": "sent", "failed": "failed", "dismissed": "not sent: cancelled"}
REASON_LABELS = {
    "no_history": "no known history",
    "history_ends_early": "no recent data",
    "history_too_short": "known history too short",
    "not_quiet": "25 deaths or more in a month of the last five years",
    "not_asked": "not computed: switched off in the settings",
    "not_forecast": "not forecast",
    "no_neighbour": "no common border within the region",
    "not_in_snapshot": "not computed by the version that made this snapshot",
    "input_missing": "the required data are not in the archive",
    "hindcast": "not part of a hindcast",
    "no_earlier_score": "no earlier score",
    "unknown": "unknown",
    "value_unknown": "the month is not covered by the data",
    "past_too_short": "fewer than five years before are covered by the data",
    "not_settled": "too few of the last three months are settled",
}
ALERT_REASON_LABELS = {
    **REASON_LABELS,
    **MISSING_OUTCOME_LABELS,
    "rule_changed": "the alert rule was changed",
    "rule_withdrawn": "the alert rule was removed",
    "other_outcome": "the alert rule uses another forecast",
    "no_snapshot": "the forecast was withdrawn",
}
"""Why a firing alert has no value today."""
RESULT_LABELS = {
    "hit": "hit",
    "false_alarm": "false alarm",
    "too_early": "too early to say",
    "unknown": "unknown",
    "miss": "missed",
}
"""How an alert turned out."""
RELEASE_CLASS_LABELS = {
    "monthly_candidate": "monthly first report",
    "year_file": "first report of the year",
    "final": "final release",
    "next_final": "revised final release",
}
"""How settled a figure is."""
ESCALATION_MODEL_LABELS = {
    "draws": "forecast draws",
    "h24": "share of the last 24 three-month totals",
    "draws_and_regression": "average of draws and a regression",
}
"""The model that gives the probability of escalation."""
DIRECTION_LABELS = {1: "goes with more violence", -1: "goes with less violence", 0: "no stated direction"}
DIRECTION_ARROWS = {1: "↑", -1: "↓", 0: "·"}
"""Signs that are the same in every language."""
EXTRA_INPUT_LABELS = {"own_deaths": "The country’s own deaths, month by month"}
"""What a model uses besides the declared indicators."""

UNIT_LABELS = {
    "reported / expected deaths": "reported / expected deaths",
    "1 or 0": "1 or 0",
    "armed actors": "armed actors",
    "coups": "coups",
    "coups and attempts": "coups and attempts",
    "difference of differences of log(1 + deaths)": "difference of differences of log(1 + deaths)",
    "difference of log(1 + deaths)": "difference of log(1 + deaths)",
    "difference of log(1 + events)": "difference of log(1 + events)",
    "difference of log(1 + persons)": "difference of log(1 + persons)",
    "difference of tone": "difference of tone",
    "directions, of 8": "directions, of 8",
    "first-order units": "first-order units",
    "km": "km",
    "km a year": "km a year",
    "months, at most 120": "months, at most 120",
    "sources per event": "sources per event",
    "standard deviation of log(1 + deaths)": "standard deviation of log(1 + deaths)",
    "tone, from -100 to 100": "tone, from -100 to 100",
}
"""Units of indicators that are neither counts nor shares."""

DATA_KIND_LABELS = {
    "events": "events",
    "displacement": "displaced people",
    "acled": "protests and riots",
    "gdelt": "news",
    "coups": "coups",
}
"""The kinds of data that indicators are computed from."""

FORECASTER_LABELS = {
    "served": "Vigie",
    "zero": "always zero",
    "last": "last month repeated",
    "conflictology12": "last 12 months repeated",
    "history60": "last 60 months, recent months weighted more",
    "ew4s": "smoothed history of the last 84 months",
}
"""The forecasters on the scorecard. A challenger is shown by its model id."""

UNSCORED_LABELS = {
    "no_outcome_yet": "no observation yet",
    "no_active_country": "no country with deaths",
    "too_few_months": "too few months so far",
    "too_few_countries": "too few countries",
    "nothing_lost": "no comparison: the other forecast made no error",
    "no_hindcast": "no hindcast yet",
}
"""Why the scorecard has no figure."""

VERDICT_TEXTS = {
    "period": "%(first)s to %(last)s: %(verdict)s",
    "conflictology12": "better than repeating the last 12 months on %(better)s of %(measures)s measures "
    "(beyond chance: better on %(beyond_chance)s, worse on %(worse_beyond_chance)s).",
    "ew4s": "Better than the best simple forecast, a smoothed history, on %(better)s of %(measures)s "
    "(beyond chance: better on %(beyond_chance)s, worse on %(worse_beyond_chance)s).",
    "interval": "The 90%% interval held %(share)s of the observed values in countries with deaths.",
    "none": "No verdict: %(reason)s.",
}
"""The sentences of a scorecard's verdict. A comparison is beyond chance if its 90 % interval does not contain zero."""

ERROR_TITLES = {
    400: "The request cannot be read",
    404: "Page not found",
    405: "Not possible here",
    415: "Wrong kind of content",
    500: "Something went wrong",
}
ERROR_DETAILS = {
    400: "A part of the request is not as HTTP requires.",
    404: "There is nothing at this address. It may be mistyped.",
    405: "This address can be read, but nothing can be sent to it in this way.",
    415: "This address takes JSON only.",
    500: "This is a fault of the service. If it happens again, tell the operator the number below.",
}
"""Errors by HTTP status that are not of a kind of their own. The kinds are in `service.http.problems`."""

OTHER_ERRORS = {"title": "The request was refused", "detail": "The service cannot answer this request."}

LOSS_NAMES = {"crps": "CRPS", "log_crps": "log-CRPS", "ign": "IGN", "mis": "MIS", "brier_25": "Brier ≥ 25"}
"""Abbreviations that are the same in every language."""
