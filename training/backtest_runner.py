"""Run a back-test of a home's archive: read the windows that are stored, compute and store the others.

It knows no terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from riskmodel.events.view import View
from riskmodel.forecasting.baselines import BASELINES
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.home import Home
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.outcomes import CountryMonths
from riskmodel.reporting.precision import spread_vague_deaths
from training import evaluation, export
from training.ablation import mask_families
from training.result_store import BacktestSetup, StoredBacktest, stored_backtest
from training.results import BacktestResult
from training.versions import code_digest, configuration
from training.windows import Window
from training.workers import THIS_PROCESS, Workers


@dataclass(frozen=True)
class Backtest:
    """A model to be back-tested on an archive. `kind` is `challenge` or `rolling`."""

    view: View
    outcome: str
    model: Component
    seed: int
    kind: str = "challenge"

    @property
    def setup(self) -> BacktestSetup:
        """Everything that decides the results."""
        return BacktestSetup(
            kind=self.kind,
            outcome=self.outcome,
            model=self.model.name,
            configuration=configuration(self.model),
            baselines=tuple(map(configuration, BASELINES)),
            seed=self.seed,
            data_digest=self.view.digest,
            simulated=self.view.simulated,
            code=code_digest(),
        )

    def stored(self, home: Home) -> StoredBacktest:
        """Return where a home stores the results."""
        return stored_backtest(home, self.setup)

    def missing_windows(self, home: Home, windows: Sequence[Window], *, draws: bool = False) -> list[Window]:
        """Return the windows whose results are not stored; with `draws`, also those whose draws are not."""
        stored = self.stored(home)
        return [
            window for window in windows if not stored.has(window) or (draws and not stored.draws_path(window).exists())
        ]

    def run(
        self,
        home: Home,
        windows: Sequence[Window],
        workers: Workers = THIS_PROCESS,
        *,
        draws: bool = False,
        on_window: Callable[[Window], None] = lambda window: None,
    ) -> BacktestResult:
        """Return the results over all countries; missing windows are computed and stored first.

        `draws` also stores the model's draws. `on_window` is called after each computed window. Raises BadInput as
        `evaluation.run` does, and what `Workers.map_unordered` raises.
        """
        stored, missing = self.stored(home), self.missing_windows(home, windows, draws=draws)
        work = partial(_run_window, model=self.model, draws=draws)
        for window, (result, forecasts) in workers.map_unordered(work, list(self._panels(missing))):
            if draws:
                with export.open_writer(stored.draws_path(window)) as write:
                    for forecast in forecasts:
                        write(forecast, window)
            stored.write(result)
            on_window(window)
        return stored.read(windows)

    def _panels(self, windows: Sequence[Window]) -> Iterator[tuple[Panel, Window]]:
        """Yield each window with a panel of the countries that have a history at its origin."""
        panels: dict[tuple[str, ...], Panel] = {}  # most windows have the same countries, and a panel is slow to build
        outcomes = self.view.outcomes()
        for window in windows:
            observed = outcomes.with_history(self.outcome, window.origin)
            if observed.iso3 not in panels:
                panels[observed.iso3] = mask_families(build_panel(self.view, observed, self.outcome), self.model)
            yield panels[observed.iso3], window


def build_panel(view: View, observed: CountryMonths, outcome: str) -> Panel:
    """Build the panel of some countries from all that a view of the archive has of them."""
    return assemble(observed, outcome, build_inputs(view, observed, outcome))


def build_inputs(view: View, observed: CountryMonths, outcome: str) -> Inputs:
    """Build the inputs of the indicators; deaths of long events are spread over their months."""
    return read_inputs(view, observed, outcome, spread_vague_deaths(view).only(observed.iso3).deaths[outcome])


def _run_window(
    panel: Panel, window: Window, *, model: Component, draws: bool
) -> tuple[BacktestResult, list[Forecast]]:
    result, forecasts = evaluation.run_window(panel, window, model)
    return result, forecasts if draws else []  # draws are large: do not send them between processes for nothing
