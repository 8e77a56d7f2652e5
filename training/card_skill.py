"""The sections of a model card that show a stored back-test: scores, calibration, events and alerts."""

from collections.abc import Iterator, Sequence

import numpy as np

from riskmodel import geography
from riskmodel.bundle import Bundle
from training import plots
from training.backtest_alerts import shipped_threshold
from training.formatting import INTERVAL_HEADING, LABELS, format_difference, format_value
from training.report import Block, BulletList, Figure, Heading, Paragraph, Table
from training.result_store import StoredBacktest
from training.result_tables import (
    ALERT_NOTES,
    EVENT_NOTES,
    KIND_DESCRIPTIONS,
    LEAD_RANGES,
    NO_THRESHOLDS,
    SCORE_NOTES,
    Rows,
    alert_rows,
    coverage_rows,
    event_rows,
    shipped_alert_rows,
)
from training.results import BATTLE_MONTH, COVERAGES, LOSSES, BacktestResult

COMPARED_WITH = ("conflictology12", "ew4s")
BOOTSTRAP_SEED = 0
OTHER_COUNTRIES = 15
"""How many countries outside of the region the table by country has: those with the highest CRPS."""


def skill_blocks(backtest: StoredBacktest, model: Bundle, region: str) -> Iterator[Block]:
    """Yield the sections of one back-test of a model's configuration, for the world, Africa and a region."""
    result, ours, kind = backtest.read(backtest.windows), backtest.setup.model, backtest.setup.kind
    same_data = backtest.setup.data_digest == model.provenance.data_digest
    yield Paragraph(
        f"Back-test {backtest.name}{'' if same_data else ' of other data than it was trained on'}: its configuration, "
        f"fitted in each window on the months before it; {KIND_DESCRIPTIONS[kind]}."
    )
    scopes = [
        ("World", result),
        ("Africa", result.for_countries(geography.continent("Africa"))),
        (f"The region of {region}", result.for_countries(geography.region(region).members)),
    ]
    scopes = [(where, part) for where, part in scopes if part.has_outcomes]
    for where, part in scopes:
        yield Heading(f"{where}, {len(part.iso3)} countries", 3)
        yield _scores_by_window(part, ours)
        for first, last in LEAD_RANGES if kind == "rolling" else ():
            yield Paragraph(f"Leads {first}-{last}:")
            yield from _differences_and_coverage(part.for_leads(first, last), ours)
        if kind == "challenge":
            yield from _differences_and_coverage(part, ours)
    yield BulletList(
        [
            *SCORE_NOTES,
            "a negative difference is a lower loss; a window is won by the lower mean loss",
            "the intervals are those of a bootstrap over countries",
        ]
    )
    yield Heading("By lead, world", 3)
    yield Paragraph("Mean losses: lower is better.")
    leads = [(f"{lead}", place) for place, lead in enumerate(np.unique(result.leads))]
    yield _scores_by(result, ours, "lead", leads)
    yield Heading("By country", 3)
    yield Paragraph(
        f"The region of {region}, and the {OTHER_COUNTRIES} other countries with the highest CRPS. Lower is better."
    )
    yield _scores_by(result, ours, "country", _countries_shown(result, ours, region))
    yield from _calibration(result, ours)
    if kind == "rolling":
        yield from _events_and_alerts(scopes)


def _scores_by_window(result: BacktestResult, ours: str) -> Table:
    scores = (*LOSSES, *COVERAGES)
    means = {score: result.means(score) for score in scores}
    rows = [
        (
            f"{window} {name}",
            *(format_value(score, means[score][result.index_of(name), column]) for score in scores),
        )
        for column, window in enumerate([*(window.name for window in result.windows), "all"])
        for name in (ours, *COMPARED_WITH)
    ]
    return Table(("window", *(LABELS[score] for score in scores)), rows)


def _differences_and_coverage(result: BacktestResult, ours: str) -> Iterator[Block]:
    rows = []
    for other in COMPARED_WITH:
        for score in LOSSES:
            difference = result.difference(score, ours, other, np.random.default_rng(BOOTSTRAP_SEED))
            won = f"{difference.windows_won} of {difference.windows}"
            rows.append((f"{LABELS[score]} against {other}", *format_difference(difference.estimate), won))
    yield Table((ours, "difference", INTERVAL_HEADING, "windows won"), rows)
    yield Table(*coverage_rows(result, (ours, *COMPARED_WITH), BOOTSTRAP_SEED))


def _scores_by(result: BacktestResult, ours: str, axis: str, rows: Sequence[tuple[str, int]]) -> Table:
    names, scores = (ours, *COMPARED_WITH), ("crps", "ign")
    means = {score: result.means_by(score, axis) for score in scores}
    return Table(
        (axis, *(f"{LABELS[score]} {name}" for score in scores for name in names)),
        [
            (
                label,
                *(
                    format_value(score, means[score][result.index_of(name), place])
                    for score in scores
                    for name in names
                ),
            )
            for label, place in rows
        ],
    )


def _countries_shown(result: BacktestResult, ours: str, region: str) -> list[tuple[str, int]]:
    """Return the name and the row of each country of the table by country."""
    known, members = geography.countries(), geography.region(region).members
    crps = np.nan_to_num(result.means_by("crps", "country")[result.index_of(ours)])
    inside = [result.iso3.index(code) for code in members if code in result.iso3]
    others = [int(row) for row in np.argsort(-crps, kind="stable") if result.iso3[row] not in members]
    return [(known[result.iso3[row]].name(), row) for row in (*inside, *others[:OTHER_COUNTRIES])]


def _calibration(result: BacktestResult, ours: str) -> Iterator[Block]:
    yield Heading("Calibration, all countries", 3)
    yield Paragraph(
        "A level histogram is calibrated. A U means that forecasts are too narrow, a hump that they are too wide, a "
        "slope that they are too high or too low."
    )
    for active, countries in ((True, "active"), (False, "inactive")):
        shares = result.pit_histogram(ours, active=active)
        if np.isfinite(shares).all():
            numbers = ", ".join(f"{share:.3f}" for share in shares)
            caption = f"Share of outcomes in each tenth of the forecast, {countries} country-months: {numbers}."
            yield Figure(plots.pit_histogram(f"PIT, {countries} country-months", shares), caption)
    table = result.reliability(BATTLE_MONTH, ours)
    yield Figure(
        plots.reliability_diagram("P(25 deaths or more in a month)", table),
        "Forecast probability against observed frequency, as in the table below",
    )
    yield Table(
        ("class", "forecasts", "forecast probability", "observed frequency"),
        [
            (f"{i * 10}-{i * 10 + 10} %", f"{number:,}", f"{forecast:.3f}", f"{observed:.3f}")
            for i, (number, forecast, observed) in enumerate(
                zip(table.number, table.probability, table.frequency, strict=True)
            )
            if number
        ],
    )


def _events_and_alerts(scopes: Sequence[tuple[str, BacktestResult]]) -> Iterator[Block]:
    yield Heading("Events and alerts", 3)
    yield BulletList([*EVENT_NOTES, *ALERT_NOTES])
    for where, part in scopes:
        yield Paragraph(f"{where}, all leads; the intervals are those of a bootstrap over {part.bootstrap_unit}:")
        yield _event_table(event_rows(part, BOOTSTRAP_SEED))
        yield Paragraph(f"{where}, leads 1-3:")
        yield _event_table(event_rows(part.for_leads(1, 3), BOOTSTRAP_SEED, [BATTLE_MONTH]))
        yield Paragraph(f"{where}, alerts of escalation at the threshold that ships, {shipped_threshold():.2f}:")
        yield Table(*shipped_alert_rows(part, BOOTSTRAP_SEED))
        if (evaluated := alert_rows(part, BOOTSTRAP_SEED)) is None:
            yield Paragraph(NO_THRESHOLDS)
        else:
            years, rows = evaluated
            yield Paragraph(
                f"{where}, alerts in {', '.join(window.name for window in years.windows)}, thresholds fixed before:"
            )
            yield Table(*rows)


def _event_table(rows: Rows) -> Table:
    """Put the event and the forecaster into one cell: the first column names the row."""
    (event, forecaster, *headings), lines = rows
    return Table((f"{event}, {forecaster}", *headings), [(f"{what}, {name}", *texts) for what, name, *texts in lines])
