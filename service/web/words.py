"""The words for codes: bands, states of the data, outcomes, reasons, severities. English, and the keys of translations.

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
}
TABLES = (BANDS, STATUS, OUTCOMES, OUTCOME_MEANINGS, SEVERITIES, REASONS)
