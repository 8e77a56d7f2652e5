"""The card of a model: what it was trained on, what it has shown, how far to trust it. Built only from what is kept.

It knows the home and the archive, and no terminal.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from riskmodel import geography
from riskmodel.bundle import Bundle
from riskmodel.events.view import View
from riskmodel.home import Home, atomic_write
from riskmodel.indicators.panel import FAMILIES
from training import figures, plots, registry, report
from training.console_tables import voices
from training.figures import ALERTS, EVENTS, HEADINGS, LEADS_SHOWN, LEGEND, NO_ALERTS, Rows, relative, shown
from training.gate import BETTER_MEANS, NOT_WORSE_MEANS
from training.promotion import evidence
from training.registry import HOW
from training.report import Block, Figure, Heading, Listing, Paragraph, Table
from training.result_store import Record
from training.results import BATTLE, COVERAGES, LOSSES, Judged

BESIDE = ("conflictology12", "ew4s")
SEED = 0
HEAVIEST = 15
"""How many countries beside the region's stand in the table: those that weigh most in the loss."""
LIMITS = (
    "It forecasts deaths in organised violence as UCDP counts them, by country and month. It says nothing of places "
    "within a country, of riots, crime or of violence without deaths.",
    "It has learned from final figures: on the newest months, which are still being reported, it will do worse.",
    "What a country's past does not hold, it does not foresee: the first months of a new war are mostly missed.",
    "A handful of wars decides the CRPS of the world: a difference of a few per cent can be the luck of one country. "
    "The intervals come from resampling countries, and treat neighbours as if they were independent.",
    "An association that it uses is not a cause, and a score is not a prediction of any single event.",
)


def write(home: Home, view: View, model: Bundle, region: str, folder: Path) -> list[Path]:
    """Write the card as Markdown and HTML; returns the two files."""
    title = f"Model card: {model.id}"
    blocks = list(_blocks(home, view, model, region))
    written = []
    for ending, content in (("md", report.markdown(title, blocks)), ("html", report.html(title, blocks))):
        with atomic_write(folder / f"{model.id}.{ending}") as part:
            part.write_text(content, encoding="utf-8")
        written.append(folder / f"{model.id}.{ending}")
    return written


def _blocks(home: Home, view: View, model: Bundle, region: str) -> Iterator[Block]:
    if model.provenance.simulated:
        yield Paragraph("SIMULATED: this model was trained and judged on invented data. None of its figures is of use.")
    yield from _what_it_is(model)
    yield from _data(view, model)
    yield from _service(home, model)
    kept = evidence(home, model)
    for kind, name in (("challenge", "Past years"), ("rolling", "As issued month by month")):
        record = next((found for found in kept if found.setup.kind == kind), None)
        years = "--windows 2018:2022" if kind == "challenge" else "--rolling 2018:2022"
        yield Heading(name)
        if record is None:
            yield Paragraph(f"No back-test of this configuration and code is kept: vigie backtest {years} makes one.")
        else:
            yield from _skill(record, model, region)
    yield Heading("Limits")
    yield Listing(LIMITS)


def _what_it_is(model: Bundle) -> Iterator[Block]:
    facts = model.provenance
    yield Heading("What it is")
    yield Listing(
        (
            f"outcome: {facts.outcome} deaths by country and month, leads 1-12",
            f"last month it learned from: {facts.origin}",
            f"trained: {facts.trained_at}",
            f"seed: {facts.seed}",
            f"data: {facts.data_digest[:12]}",
            f"code: {facts.code[:12] or 'not written down'}",
            f"file: {model.digest[:12]}",
        )
    )
    yield Paragraph(facts.configuration or "its configuration was not written down", fixed=True)


def _data(view: View, model: Bundle) -> Iterator[Block]:
    yield Heading("Data")
    if view.digest != model.provenance.data_digest:
        yield Paragraph(
            "The archive has changed since: what follows is of the archive as it is now, up to the last month that the "
            "model learned from."
        )
    observed = view.outcomes().histories(model.outcome, model.origin).until(model.origin)
    deaths = observed.deaths[model.outcome]
    known = ~np.isnan(deaths)
    if known.any():
        yield Paragraph(
            f"{len(observed.iso3)} countries, {observed.months[0]} to {observed.months[-1]}: {int(known.sum()):,} "
            f"country-months, {(deaths[known] == 0).mean():.0%} of them without a death, "
            f"{int(np.nansum(deaths)):,} {model.outcome} deaths in all."
        )
    read = [model.provenance.features[place] for place in sorted(model.model.reads)]
    rows = []
    for family in FAMILIES:
        names = [indicator.name for indicator in family.indicators if indicator.name in read]
        rows.append((family.title["en"], f"{len(names)} of {len(family.indicators)}"))
    yield Paragraph("Indicators that it reads, by family; the others were not known well enough to learn from:")
    yield Table(("family", "read"), rows)


def _service(home: Home, model: Bundle) -> Iterator[Block]:
    yield Heading("How it came into service")
    entries = [entry for entry in registry.journal(home.models) if entry.name == model.id]
    if all(entry.how in registry.SHADOW for entry in entries):
        yield Paragraph("It has not been in service.")
    for entry in entries:
        why = f": {entry.why}" if entry.why else ""
        yield Paragraph(f"{entry.at}, {HOW[entry.how]}{why}.")
        if entry.checks:
            yield Paragraph(
                f"The gate asked, on all countries in the windows {', '.join(entry.windows)} "
                f"(better: {BETTER_MEANS}; not worse: {NOT_WORSE_MEANS}):"
            )
            yield Table(
                ("against", "score", "asked", "difference", "90 % interval", "windows won", "met"),
                [
                    (
                        check["against"],
                        check["score"],
                        check["rule"],
                        *relative(check["value"], check["low"], check["high"]),
                        f"{check['won']} of {check['windows']}",
                        "yes" if check["passed"] else "NO",
                    )
                    for check in entry.checks
                ],
            )
    if "unscored" not in (scores := model.provenance.scores):
        yield Paragraph(
            f"When it was trained, its configuration fitted to {scores['origin']} was judged on {scores['months']}:"
        )
        names = [name for name in (model.model.name, *BESIDE) if name in scores]
        yield Table(
            ("all countries", *names),
            [
                (HEADINGS.get(score, score), *(shown(score, _number(scores[name].get(score))) for name in names))
                for score in (*LOSSES, *COVERAGES)
            ],
        )

    if "escalation" in scores:
        yield Paragraph(f"{voices(scores['escalation'])}.")


def _skill(record: Record, model: Bundle, region: str) -> Iterator[Block]:
    judged, ours = record.read(record.windows), record.setup.model
    other = "" if record.setup.data_digest == model.provenance.data_digest else " of other data than it was trained on"
    how = (
        "data to October of the year before, leads 3-14"
        if record.setup.kind == "challenge"
        else "every month-end, refitted each January, leads 1-12"
    )
    yield Paragraph(
        f"Back-test {record.name}{other}: its configuration, fitted anew for each window on what lay before; {how}."
    )
    scopes = [
        ("World", judged),
        ("Africa", judged.only(geography.continent("Africa"))),
        (f"The region of {region}", judged.only(geography.region(region).members)),
    ]
    scopes = [(where, part) for where, part in scopes if (part.came["deaths"] >= 0).any()]
    for where, part in scopes:
        yield Heading(f"{where}, {len(part.iso3)} countries", 3)
        yield _by_window(part, ours)
        for first, last in LEADS_SHOWN if record.setup.kind == "rolling" else ():
            near = part.within(first, last)
            yield Paragraph(f"Leads {first}-{last}:")
            yield _differences(near, ours)
            yield Table(*figures.coverages(near, (ours, *BESIDE), SEED))
        if record.setup.kind == "challenge":
            yield _differences(part, ours)
            yield Table(*figures.coverages(part, (ours, *BESIDE), SEED))
    yield Listing([*LEGEND, "the intervals are those of a bootstrap over countries"])
    yield Heading("By lead, world", 3)
    yield _by(judged, ours, "lead", [(f"{lead}", place) for place, lead in enumerate(np.unique(judged.leads))])
    yield Heading("By country", 3)
    yield Paragraph(f"Those of the region of {region}, and the {HEAVIEST} others that weigh most.")
    yield _by(judged, ours, "country", _countries(judged, ours, region))
    yield from _calibration(judged, ours)
    if record.setup.kind == "rolling":
        yield from _events(scopes)


def _by_window(judged: Judged, ours: str) -> Table:
    scores = (*LOSSES, *COVERAGES)
    means = {score: judged.means(score) for score in scores}
    rows = [
        (f"{window} {name}", *(shown(score, means[score][judged.component(name), w]) for score in scores))
        for w, window in enumerate([*(window.name for window in judged.windows), "all"])
        for name in (ours, *BESIDE)
    ]
    return Table(("window", *(HEADINGS.get(score, score) for score in scores)), rows)


def _differences(judged: Judged, ours: str) -> Table:
    rows = []
    for other in BESIDE:
        for score in LOSSES:
            found, (won, windows) = judged.difference(score, ours, other, np.random.default_rng(SEED))
            what = f"{HEADINGS.get(score, score)} against {other}"
            rows.append((what, *relative(found.value, found.low, found.high), f"{won} of {windows}"))
    return Table((ours, "difference", "90 % interval", "windows won"), rows)


def _by(judged: Judged, ours: str, axis: str, rows: Sequence[tuple[str, int]]) -> Table:
    names, scores = (ours, *BESIDE), ("CRPS", "IGN")
    means = {score: judged.mean_by(score, axis) for score in scores}
    return Table(
        (axis, *(f"{score} {name}" for score in scores for name in names)),
        [
            (label, *(shown(score, means[score][judged.component(name), place]) for score in scores for name in names))
            for label, place in rows
        ],
    )


def _countries(judged: Judged, ours: str, region: str) -> list[tuple[str, int]]:
    known, members = geography.countries(), geography.region(region).members
    weight = np.nan_to_num(judged.mean_by("CRPS", "country")[judged.component(ours)])
    inside = [judged.iso3.index(code) for code in members if code in judged.iso3]
    others = [int(place) for place in np.argsort(-weight, kind="stable") if judged.iso3[place] not in members]
    return [(known[judged.iso3[place]].name(), place) for place in (*inside, *others[:HEAVIEST])]


def _calibration(judged: Judged, ours: str) -> Iterator[Block]:
    yield Heading("Calibration, all countries", 3)
    yield Paragraph(
        "A level histogram is calibrated; a U says that forecasts are too narrow, a hump "
        "that they are too wide, a slope that they lean to one side."
    )
    for active, who in ((True, "active"), (False, "quiet")):
        shares = judged.pit(ours, active=active)
        if np.isfinite(shares).all():
            told = ", ".join(f"{share:.3f}" for share in shares)
            caption = f"Share of outcomes in each tenth of the forecast, {who} country-months: {told}."
            yield Figure(plots.pit(f"PIT, {who} country-months", shares), caption)
    table = judged.reliability(ours, BATTLE)
    yield Figure(
        plots.reliability("P(25 deaths or more in a month)", table), "Probability said against frequency seen, as below"
    )
    yield Table(
        ("class", "forecasts", "probability said", "frequency seen"),
        [
            (f"{i * 10}-{i * 10 + 10} %", f"{number:,}", f"{said:.3f}", f"{seen:.3f}")
            for i, (number, said, seen) in enumerate(zip(table.number, table.probability, table.frequency, strict=True))
            if number
        ],
    )


def _events(scopes: Sequence[tuple[str, Judged]]) -> Iterator[Block]:
    yield Heading("Events and alerts", 3)
    yield Listing([*EVENTS, *ALERTS])
    for where, part in scopes:
        yield Paragraph(f"{where}, all leads; the intervals are those of a bootstrap over {part.unit}:")
        yield _by_event(figures.events(part, SEED))
        yield Paragraph(f"{where}, leads 1-3:")
        yield _by_event(figures.events(part.within(1, 3), SEED, [BATTLE]))
        if (found := figures.alerts(part, SEED)) is None:
            yield Paragraph(NO_ALERTS)
        else:
            judged, rows = found
            years = ", ".join(window.name for window in judged.windows)
            yield Paragraph(f"{where}, alerts of escalation in {years}:")
            yield Table(*rows)


def _by_event(said: Rows) -> Table:
    """The event and the forecast in one cell."""
    (event, forecast, *headings), rows = said
    return Table((f"{event}, {forecast}", *headings), [(f"{what}, {name}", *told) for what, name, *told in rows])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
