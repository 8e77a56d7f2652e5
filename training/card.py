"""Write the card of a model: what it was trained on, how well its configuration did, and its limits.

The card is built only from what the home has stored: the bundle, the journal and back-tests. This module knows no
terminal.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from riskmodel.bundle import Bundle
from riskmodel.events.view import View
from riskmodel.home import Home, atomic_write
from riskmodel.indicators.panel import FAMILIES
from training import registry, report
from training.card_skill import COMPARED_WITH, skill_blocks
from training.card_verdict import checks_table, missing_backtest, rule_notes, verdict_blocks
from training.formatting import LABELS, format_outcome, format_value
from training.promotion import stored_backtests_of
from training.report import Block, BulletList, Heading, Paragraph, Table
from training.results import COVERAGES, LOSSES

LIMITS = (
    "It forecasts deaths in organised violence as UCDP counts them, by country and month. It does not forecast places "
    "within a country, riots, crime or violence without deaths.",
    "It was trained on final figures. The newest months are still being reported, and forecasts from them are worse.",
    "It knows only the past of each country. It misses most first months of a new war.",
    "A handful of wars decides the CRPS of the world: one country can cause a difference of a few per cent by chance. "
    "The intervals come from resampling countries, and treat neighbours as if they were independent.",
    "An association that it uses is not a cause, and a score does not predict a single event.",
)


def write_card(home: Home, view: View, model: Bundle, region: str, folder: Path) -> list[Path]:
    """Write the card as Markdown and as HTML into a folder, and return the two files."""
    title = f"Model card: {model.id}"
    blocks = list(_blocks(home, view, model, region))
    files = {
        folder / f"{model.id}.md": report.to_markdown(title, blocks),
        folder / f"{model.id}.html": report.to_html(title, blocks),
    }
    for path, content in files.items():
        with atomic_write(path) as part:
            part.write_text(content, encoding="utf-8")
    return list(files)


def describe_escalation_choice(scores: Mapping[str, Any]) -> str:
    """Say which model of escalation was chosen and why, from the entry `escalation` of a provenance's scores."""
    brier = ", ".join(f"{name} {score:.4f}" for name, score in scores["brier"].items())
    cases = f"{scores['cases']} country-months of the origins {scores['origins']}, {scores['events']} escalations"
    reason = f"Brier, lower is better: {brier}; on {cases}" if brier else f"too few events to choose by: {cases}"
    return f"probability of escalation from: {scores['model']} ({reason})"


def _blocks(home: Home, view: View, model: Bundle, region: str) -> Iterator[Block]:
    if model.provenance.simulated:
        yield Paragraph("SIMULATED: this model was trained on invented data. Do not use any of its figures.")
    stored = stored_backtests_of(home, model)
    backtests = {
        kind: next((backtest for backtest in stored if backtest.setup.kind == kind), None)
        for kind in ("challenge", "rolling")
    }
    entries = [entry for entry in registry.read_journal(home.models) if entry.model == model.id]
    served = [entry for entry in entries if entry.action not in registry.SHADOW_ACTIONS]
    yield from verdict_blocks(model, backtests["challenge"], served[-1] if served else None, region)
    yield from _identity(model)
    yield from _training_data(view, model)
    yield from _service_record(model, entries)
    for kind, heading in (("challenge", "Past years"), ("rolling", "As issued month by month")):
        backtest = backtests[kind]
        yield Heading(heading)
        if backtest is None:
            yield Paragraph(f"Not shown: {missing_backtest(model, kind)}")
        else:
            yield from skill_blocks(backtest, model, region)
    yield Heading("Limits")
    yield BulletList(LIMITS)


def _identity(model: Bundle) -> Iterator[Block]:
    provenance = model.provenance
    yield Heading("What it is")
    yield BulletList(
        (
            f"outcome: {format_outcome(provenance.outcome)}, by country and month, leads 1-12",
            f"last month of its training data: {provenance.origin}",
            f"trained: {provenance.trained_at}",
            f"seed: {provenance.seed}",
            f"indicators: it reads {len(model.model.used_indicators)} of the {len(provenance.features)} that Vigie "
            "computes; the others were unknown in too many months of the training, or it has no use for them",
            f"data: {provenance.data_digest[:12]}",
            f"code: {provenance.code[:12] or 'not recorded'}",
            f"file: {model.digest[:12]}",
        )
    )
    yield Paragraph(provenance.configuration or "its configuration was not recorded", code=True)


def _training_data(view: View, model: Bundle) -> Iterator[Block]:
    yield Heading("Data")
    if view.digest != model.provenance.data_digest:
        yield Paragraph(
            "The archive has changed since the training. What follows describes the archive as it is now, up to the "
            "last month of the training data."
        )
    observed = view.outcomes().with_history(model.outcome, model.origin).until(model.origin)
    deaths = observed.deaths[model.outcome]
    known = ~np.isnan(deaths)
    if known.any():
        yield Paragraph(
            f"{len(observed.iso3)} countries, {observed.months[0]} to {observed.months[-1]}: {int(known.sum()):,} "
            f"country-months, {(deaths[known] == 0).mean():.0%} of them without a death, "
            f"{int(np.nansum(deaths)):,} {format_outcome(model.outcome)}."
        )
    names_read = {model.provenance.features[place] for place in model.model.used_indicators}
    yield Paragraph("Indicators that it reads, by family:")
    rows = []
    for family in FAMILIES:
        number = sum(indicator.name in names_read for indicator in family.indicators)
        rows.append((family.title["en"], f"{number} of {len(family.indicators)}"))
    yield Table(("family", "read"), rows)


def _service_record(model: Bundle, entries: Sequence[registry.JournalEntry]) -> Iterator[Block]:
    yield Heading("How it entered service")
    if all(entry.action in registry.SHADOW_ACTIONS for entry in entries):
        yield Paragraph("It has not been in service.")
    for entry in entries:
        reason = f": {entry.reason}" if entry.reason else ""
        yield Paragraph(f"{entry.at}, {registry.ACTION_LABELS[entry.action]}{reason}.")
        if entry.checks:
            yield Paragraph(f"What was found, on all countries in {', '.join(entry.windows)}:")
            yield checks_table(entry.checks)
            yield rule_notes({str(check["rule"]) for check in entry.checks})
    yield from _training_scores(model)


def _training_scores(model: Bundle) -> Iterator[Block]:
    scores = model.provenance.scores
    if "unscored" not in scores:
        yield Paragraph(
            f"Scores from the training: the same configuration, fitted to {scores['origin']} and scored on "
            f"{scores['months']}. CRPS, log-CRPS, IGN, MIS and Brier: lower is better."
        )
        names = [name for name in (model.model.name, *COMPARED_WITH) if name in scores]
        yield Table(
            ("all countries", *names),
            [
                (LABELS[score], *(format_value(score, scores[name].get(score)) for name in names))
                for score in (*LOSSES, *COVERAGES)
            ],
        )
    if "escalation" in scores:
        yield Paragraph(f"{describe_escalation_choice(scores['escalation'])}.")
