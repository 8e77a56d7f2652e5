"""Run a back-test from Python and return its rows as a pandas table. For notebooks and scripts."""

import pandas as pd

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.home_reader import HomeReader
from riskmodel.outcomes import OUTCOMES
from training import windows as periods
from training.backtest_runner import Backtest
from training.model_factory import SERVED_MODEL, make_model
from training.workers import Workers


def backtest(
    home: HomeReader,
    *,
    windows: str | None = None,
    rolling: str | None = None,
    outcome: str | None = None,
    model: str = SERVED_MODEL,
    countries: str | list[str] | tuple[str, ...] | None = None,
    seed: int = 1,
    jobs: int = 1,
) -> pd.DataFrame:
    """Score a model and the baselines on past years, as `vigie backtest` does, and return the scores.

    Name the years: `windows="2018:2022"` forecasts each calendar year from data to October of the year before, leads
    3-14; `rolling="2018:2022"` forecasts at every month-end, leads 1-12, with the model fitted each January. `model` is
    MODULE:FUNCTION, which makes a model from a seed; the default is the served model. It learns from all countries of
    the archive; `countries` are those whose rows are returned: ISO alpha-3 codes, by default those of the home's
    region. `outcome` is `all` or `state_based`. The results are stored in the home: the same back-test is read, not
    run.

    One row per forecaster, country, origin and lead: the outcome `deaths` [deaths]; losses `crps` [deaths], `log_crps`,
    `ign` [bits], `mis` [deaths] and `brier_25`, lower is better; `within_50` and `within_90`, of active countries; and
    the other columns that docs/modelers.md lists. NaN: it cannot be scored. Outcomes are final figures.

    Raises BadInput for years outside of the data, and for unknown countries, outcomes and models.
    """
    if (windows is None) == (rolling is None):
        raise BadInput('name the years: windows="2018:2022", or rolling="2018:2022"')
    try:
        chosen = periods.challenge_windows(windows) if windows else periods.service_windows(rolling or "")
        unfitted = make_model(model, seed)
    except ValueError as wrong:
        raise BadInput(str(wrong)) from None
    view = home.view()
    outcome = outcome or view.outcomes().default_outcome
    if outcome not in OUTCOMES:
        raise BadInput(f"{outcome!r} is no outcome: {', '.join(OUTCOMES)}")
    named = (countries,) if isinstance(countries, str) else countries
    members = geography.region(home.region).members
    iso3 = [geography.country(code).iso3 for code in named] if named else list(members)
    run = Backtest(view, outcome, unfitted, seed, "challenge" if windows else "rolling")
    run.run(home.home, chosen, Workers(jobs))
    stored = run.stored(home.home)
    parts = [
        pd.read_parquet(stored.folder / f"{window.name}.parquet", filters=[("iso3", "in", iso3)]).assign(
            window=window.name
        )
        for window in chosen
    ]
    rows = pd.concat(parts, ignore_index=True).astype({"forecaster": "str", "iso3": "str", "origin": "datetime64[s]"})
    rows = rows.assign(outcome=outcome, simulated=view.simulated)
    rows.attrs.update(backtest=stored.name, outcome=outcome, simulated=view.simulated, losses="lower is better")
    return rows
