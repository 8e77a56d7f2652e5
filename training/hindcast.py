"""Hindcasts: what Vigie would have reported at past origins, by models that saw only earlier data.

A model of the configuration in service is fitted each January on what came before, and forecasts every month-end until
the next. It uses the figures known at the time, where the archive has the releases for the origin of the model and of
the forecast; else the newest figures. This module knows no terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from riskmodel import geography, hindcasts
from riskmodel.assessment import region_origin
from riskmodel.bundle import Bundle
from riskmodel.errors import BadInput, Refused
from riskmodel.events.storage import TableReader
from riskmodel.events.view import View
from riskmodel.explanation.signals import RegionSignals, observe, with_signals
from riskmodel.forecasting.component import REQUIRED_MONTHS, Component
from riskmodel.forecasting.escalation import Escalation
from riskmodel.hindcasts import DataBasis, Hindcast
from riskmodel.home import Home
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month, Months, span
from training.as_known import known_by
from training.hindcast_reports import Batch, Figures, Report, compute, training_panel
from training.train import iso_seconds
from training.versions import code_digest, configuration
from training.windows import service_window
from training.workers import THIS_PROCESS, Workers

DEFAULT_MONTHS = 36
"""How many origins before the present one are hindcast [months]."""


class Gap(NamedTuple):
    """Origins of an outcome, `first` to `last`, that have no hindcast, and the reason."""

    outcome: str
    first: Month
    last: Month
    reason: str


@dataclass(frozen=True)
class OutcomeHindcast:
    """The hindcasts of one outcome in the region of a focal country, by the configuration of a model.

    `withdrawn` are the ids of the ingests that were withdrawn from the archive of `view`.
    """

    view: View
    focal: str
    model: Bundle
    withdrawn: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """The outcome that the model forecasts."""
        return self.model.outcome

    @property
    def members(self) -> tuple[str, ...]:
        """The ISO alpha-3 codes of the region's countries."""
        return geography.region(self.focal).members

    @cached_property
    def configuration(self) -> str:
        """The unfitted model as text."""
        return configuration(self.model.model)

    @cached_property
    def edition(self) -> str:
        """The digest of all that the hindcasts depend on, except later data."""
        return hindcasts.edition(
            region=self.focal,
            simulated=self.view.simulated,
            outcome=self.outcome,
            model_id=self.model.id,
            model=self.configuration,
            code=code_digest(),
            withdrawn=self.withdrawn,
        )

    @cached_property
    def signals(self) -> RegionSignals:
        """The signals of the region's countries at any month, found in the newest figures."""
        return observe(self.view, self.members).of(self.outcome)

    def origins(self, home: Home, months: int, first: Month | None = None) -> Months:
        """Return the last `months` origins before the region's present one, and all since `first`.

        All since the first stored one are among them too: hindcasts of two editions never stand side by side. Raises
        BadInput where no country of the region has a history.
        """
        present = region_origin(self.view, self.members, self.outcome)
        earliest = min([present - months, *([] if first is None else [first]), *self.stored(home)])
        return span(earliest, present - 1)

    def stored(self, home: Home) -> dict[Month, Path]:
        """Return the files of a home by origin, oldest first, of any edition."""
        return hindcasts.stored(home, self.focal, simulated=self.view.simulated, outcome=self.outcome)

    def missing(self, home: Home, origins: Months) -> list[Month]:
        """Return the origins that have no intact file of this edition."""
        files = self.stored(home)
        return [origin for origin in origins if origin not in files or _edition(files[origin]) != self.edition]

    def known_in_time(self, origin: Month) -> bool:
        """Return whether the archive has the releases from which the region's figures of an origin were known."""
        known = known_by(self.view, origin).origin(self.members, self.outcome)
        return known is not None and bool(known >= origin)


def run(
    home: Home,
    wanted: Sequence[tuple[OutcomeHindcast, Sequence[Month]]],
    clock: Callable[[], datetime],
    workers: Workers = THIS_PROCESS,
    on_origin: Callable[[str, Month], None] = lambda outcome, origin: None,
) -> list[Gap]:
    """Compute and store the hindcasts of some origins of each outcome. Return the gaps: origins without a hindcast.

    `clock` returns the time in UTC. `on_origin` is called once an origin of an outcome is stored or is a gap. A run
    that is killed leaves complete files only; `OutcomeHindcast.missing` tells the next run what is left. Raises Refused
    while another process computes hindcasts in this home, and what `Workers.map_unordered` raises.
    """
    home.hindcasts.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home.hindcasts / ".lock", timeout=0):
            for leftover in home.hindcasts.rglob(".*.part"):  # of a process that was killed while writing
                leftover.unlink()
            gaps = []
            for outcome, origin, reason in _run(home, wanted, clock, workers):
                on_origin(outcome, origin)
                if reason:
                    gaps.append((outcome, origin, reason))
            return _joined(gaps)
    except Timeout:
        raise Refused(f"another process computes hindcasts in {home.root}: wait until it has ended") from None


def _run(
    home: Home,
    wanted: Sequence[tuple[OutcomeHindcast, Sequence[Month]]],
    clock: Callable[[], datetime],
    workers: Workers,
) -> Iterator[tuple[str, Month, str]]:
    """Yield each outcome and origin once it is stored; if it cannot be computed, with the reason."""
    sources = {each.outcome: _Source(each) for each, _ in wanted}
    batches = [batch for each, origins in wanted for batch in _batches(each, origins)]
    for generation in _generations(batches):
        cases = []
        for batch in generation:
            figures = sources[batch.outcome].figures(batch)
            if isinstance(figures, BadInput):
                yield from ((batch.outcome, origin, str(figures)) for origin in batch.origins)
            else:
                cases.append((figures, batch))
        for batch, computed in workers.map_unordered(compute, cases):
            if isinstance(computed, BadInput):
                yield from ((batch.outcome, origin, str(computed)) for origin in batch.origins)
                continue
            source = sources[batch.outcome]
            source.keep(batch, computed.fitted)
            for report in computed.reports:
                hindcasts.save(home, _hindcast(source.hindcast, batch, report, clock()))
                yield batch.outcome, report.origin, ""
            for origin in sorted(set(batch.origins) - {report.origin for report in computed.reports}):
                reason = f"no country of the region has {REQUIRED_MONTHS} known months up to this origin"
                yield batch.outcome, origin, reason


def _batches(hindcast: OutcomeHindcast, origins: Sequence[Month]) -> Iterator[Batch]:
    """Yield the origins by the January in which their model is fitted, and by the basis of their figures."""

    def model_origin(origin: Month) -> Month:
        return service_window(int(str(origin + 1)[:4])).origin

    early = {_held_out_origin(model_origin(origin)) for origin in origins}
    for fitted_at, group in groupby(origins, key=model_origin):
        of_model: dict[DataBasis, list[Month]] = {}
        model_as_known = hindcast.known_in_time(fitted_at)
        for origin in group:
            as_known = model_as_known and hindcast.known_in_time(origin)
            of_model.setdefault("as_known" if as_known else "final_figures", []).append(origin)
        for basis, of_basis in of_model.items():
            keep_fit = basis == "final_figures" and fitted_at in early
            yield Batch(hindcast.outcome, fitted_at, basis, tuple(of_basis), keep_fit)


def _held_out_origin(model_origin: Month) -> Month:
    """Return the origin of the model with which a model of escalation is chosen."""
    first: Month = Escalation().held_out(model_origin)[0]
    return first


def _generations(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Yield the batches so that each comes after the one whose fitted model it can use."""
    ordered = sorted(batches, key=lambda batch: batch.model_origin)
    years = Escalation().years
    for _, generation in groupby(
        ordered, key=lambda batch: (batch.model_origin - ordered[0].model_origin).astype(int) // (12 * years)
    ):
        yield list(generation)


@dataclass
class _Source:
    """The figures of an outcome for its batches: panels of the newest figures, and models fitted on them."""

    hindcast: OutcomeHindcast
    panels: dict[tuple[str, ...], Panel] = field(default_factory=dict)
    fits: dict[tuple[str, ...], dict[Month, Component]] = field(default_factory=dict)

    def figures(self, batch: Batch) -> Figures | BadInput:
        """Return what a batch is computed from, or the reason why there is nothing."""
        view, model = self.hindcast.view, self.hindcast.model.model
        # Workers decode the tables of the archive themselves: these are faster to read than to send.
        figures = Figures(View(TableReader(view.reader.root), view.ingests), self.hindcast.members, model)
        if batch.basis == "as_known":
            return figures
        iso3 = self._countries(batch)
        if iso3 not in self.panels:  # most batches have the same countries, and a panel is slow to build
            try:
                self.panels[iso3] = training_panel(view, model, batch)
            except BadInput as reason:
                return reason
        early = _held_out_origin(batch.model_origin)
        fits = {origin: fit for origin, fit in self.fits.get(iso3, {}).items() if origin == early}
        return replace(figures, panel=self.panels[iso3], fits=fits)

    def keep(self, batch: Batch, fitted: Component | None) -> None:
        """Keep the fitted model of a batch for a later one."""
        if fitted is not None:
            self.fits.setdefault(self._countries(batch), {})[batch.model_origin] = fitted

    def _countries(self, batch: Batch) -> tuple[str, ...]:
        return self.hindcast.view.outcomes().with_history(batch.outcome, batch.model_origin).iso3


def _hindcast(of: OutcomeHindcast, batch: Batch, report: Report, now: datetime) -> Hindcast:
    stands_out = {country["location_code"]: country for country in of.signals.at(report.origin)}
    countries = [with_signals(country, stands_out[country["location_code"]]) for country in report.countries]
    return Hindcast(
        region=of.focal,
        simulated=of.view.simulated,
        outcome=of.outcome,
        data_basis=batch.basis,
        model_origin=batch.model_origin,
        model=of.configuration,
        edition=of.edition,
        computed_at=iso_seconds(now),
        **report._replace(countries=countries)._asdict(),
    )


def _edition(path: Path) -> str | None:
    """Return the edition of a file, or None if it is damaged."""
    try:
        return hindcasts.load(path).edition
    except Refused:
        return None


def _joined(gaps: Sequence[tuple[str, Month, str]]) -> list[Gap]:
    """Join the gaps of adjacent origins of an outcome that have the same reason."""
    joined: list[Gap] = []
    for outcome, origin, reason in sorted(gaps):
        last = joined[-1] if joined else None
        if last and (last.outcome, last.reason, last.last + 1) == (outcome, reason, origin):
            joined[-1] = last._replace(last=origin)
        else:
            joined.append(Gap(outcome, origin, origin, reason))
    return joined
