"""The words for codes: bands, states of the data, outcomes, reasons, severities, units. English, and the keys of
translations.

A code that is not here is shown as it is: a band that an operator named is that operator's word.
"""

BANDS = {
    "minimal": "minimal",
    "low": "low",
    "moderate": "moderate",
    "high": "high",
    "very high": "very high",
    "extreme": "extreme",
}
STATUS = {"fresh": "up to date", "late": "late", "stale": "out of date"}
OUTCOMES = {
    "state_based": "state-based violence",
    "all": "all organised violence",
}
OUTCOME_MEANINGS = {
    "state_based": "armed conflict in which at least one side is a state",
    "all": "state-based violence, violence between non-state groups, and one-sided violence against civilians",
}
SEVERITIES = {"info": "information", "warning": "warning", "severe": "severe"}
REASONS = {
    "no_history": "no known history",
    "history_ends_early": "no recent data",
    "history_too_short": "known history too short",
    "not_quiet": "violent within five years",
    "no_vintages": "too few earlier versions of the figures",
    "not_asked": "not computed: the settings switch it off",
    "not_forecast": "not forecast",
    "no_neighbour": "no common border within the region",
    "not_in_snapshot": "not computed by the version that made this snapshot",
    "input_missing": "the data it needs are not in the archive",
    "unknown": "unknown",
}
ESCALATION_MODELS = {
    "draws": "draws",
    "h24": "its last 24 three-month sums",
    "draws_and_regression": "draws and regression",
}
"""Who says how likely an escalation is."""
DIRECTIONS = {1: "goes with more violence", -1: "goes with less violence", 0: "no direction claimed"}
ARROWS = {1: "↑", -1: "↓", 0: "·"}
UNDECLARED = {"own_deaths": "The country’s own deaths, month by month"}
"""What a model reads beside the declared indicators."""

UNITS = {
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

KINDS = {
    "events": "events",
    "displacement": "displaced people",
    "acled": "protests and riots",
    "gdelt": "news",
    "coups": "coups",
}
"""The kinds of data that indicators are computed from."""

FORECASTERS = {
    "served": "what was served",
    "zero": "always zero",
    "last": "the last month, again",
    "conflictology12": "the last 12 months, again",
    "history60": "the last 60 months, the recent ones more",
    "ew4s": "the last 84 months, the recent ones far more, smoothed",
}
"""What each forecast is that stands on the scorecard; a challenger is called by its own name."""

UNSCORED = {
    "no_outcome_yet": "no outcome yet",
    "no_active_country": "no country with deaths",
    "too_few_months": "too few months yet",
    "too_few_countries": "too few countries",
    "nothing_lost": "nothing to compare with: the other made no error",
}
"""Why the scorecard is silent."""

LOSSES = {"crps": "CRPS", "log_crps": "log-CRPS", "ign": "IGN", "mis": "MIS", "brier_25": "Brier ≥ 25"}
"""Abbreviations that are the same in every language."""

TABLES = (
    BANDS,
    STATUS,
    OUTCOMES,
    OUTCOME_MEANINGS,
    SEVERITIES,
    REASONS,
    ESCALATION_MODELS,
    DIRECTIONS,
    UNDECLARED,
    UNITS,
    KINDS,
    FORECASTERS,
    UNSCORED,
)
