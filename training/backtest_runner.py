"""A back-test of an archive that is kept in a home: what is there is read, what is not is worked out and kept.

It knows no terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from riskmodel.events.view import View
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.home import Home
from riskmodel.indicators.gathering import gather
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.outcomes import CountryMonths
from riskmodel.reporting.precision import spread
from training import backtest, export
from training.ablation import visible
from training.result_store import Record, Setup, record
from training.results import Judged
from training.versions import code_digest, configuration
from training.windows import Window
from training.workers import ALONE, Workers


@dataclass(frozen=True)
class Trial:
    """A model to be tried on the past of an archive. `kind` is `challenge` or `rolling`."""

    view: View
    outcome: str
    model: Component
    seed: int
    kind: str = "challenge"

    @property
    def setup(self) -> Setup:
        """What decides the figures."""
        return Setup(
            kind=self.kind,
            outcome=self.outcome,
            model=self.model.name,
            configuration=configuration(self.model),
            baselines=tuple(map(configuration, backtest.BASELINES)),
            seed=self.seed,
            data_digest=self.view.digest,
            simulated=self.view.simulated,
            code=code_digest(),
        )

    def record(self, home: Home) -> Record:
        """Where its results are kept in a home."""
        return record(home, self.setup)

    def lacking(self, home: Home, windows: Sequence[Window], *, draws: bool = False) -> list[Window]:
        """The windows whose results, and draws if they are wanted, are not there."""
        kept = self.record(home)
        return [window for window in windows if not kept.has(window) or (draws and not kept.forecasts(window).exists())]

    def run(
        self,
        home: Home,
        windows: Sequence[Window],
        workers: Workers = ALONE,
        *,
        draws: bool = False,
        done: Callable[[Window], None] = lambda window: None,
    ) -> Judged:
        """The results over all countries, of which those that lack are worked out first and told as they are done.

        Raises BadInput as `backtest.run`, and what `Workers.each` raises.
        """
        kept, lacking = self.record(home), self.lacking(home, windows, draws=draws)
        work = partial(_judge, model=self.model, draws=draws)
        for window, (judged, forecasts) in workers.each(work, list(self._panels(lacking))):
            if draws:
                with export.writing(kept.forecasts(window)) as write:
                    for forecast in forecasts:
                        write(forecast, window)
            kept.keep(judged)
            done(window)
        return kept.read(windows)

    def _panels(self, windows: Sequence[Window]) -> Iterator[tuple[Panel, Window]]:
        """Each window with a panel of the countries that have a history at its origin."""
        panels: dict[tuple[str, ...], Panel] = {}
        outcomes = self.view.outcomes()
        for window in windows:
            observed = outcomes.histories(self.outcome, window.origin)
            if observed.iso3 not in panels:
                panels[observed.iso3] = visible(panel_of(self.view, observed, self.outcome), self.model)
            yield panels[observed.iso3], window


def panel_of(view: View, observed: CountryMonths, outcome: str) -> Panel:
    """The panel of some countries, with all that the view knows of them."""
    return assemble(observed, outcome, inputs_of(view, observed, outcome))


def inputs_of(view: View, observed: CountryMonths, outcome: str) -> Inputs:
    """What a model learns from beside the outcome."""
    return gather(view, observed, outcome, spread(view).only(observed.iso3).deaths[outcome])


def _judge(panel: Panel, window: Window, *, model: Component, draws: bool) -> tuple[Judged, list[Forecast]]:
    judged, forecasts = backtest.judge(panel, window, model)
    return judged, forecasts if draws else []
