"""Draw a forecast with matplotlib, which the extra `plot` installs."""

from typing import TYPE_CHECKING

from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.scored_region import CountryForecast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OBSERVED_COLOUR, FORECAST_COLOUR = "#1c1c1c", "#3b6ea5"
REASONS = {
    "no_history": "no source covers this country",
    "history_ends_early": "the known months of this country end before the origin",
    "history_too_short": "this country has too few known months",
}


def plot_forecast(forecast: CountryForecast, ax: "Axes | None" = None, *, months: int = 36) -> "Axes":
    """Draw the deaths of the last months and the forecast of the next twelve, and return the axes.

    The line is the median of each month, the bands are the 50 % and the 90 % interval [deaths]. Hollow points are
    figures that can still change. `months` is how many observed months are shown; without `ax`, a new figure is made.
    Raises ImportError if matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install matplotlib") from None
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    observed, ahead = forecast.observed.tail(months), forecast.quantiles
    ax.plot(observed["month"], observed["deaths"], color=OBSERVED_COLOUR, linewidth=1.2, label="observed")
    unsettled = observed[~observed["settled"].fillna(True).astype(bool)]
    if not unsettled.empty:
        x, y, label = unsettled["month"], unsettled["deaths"], "observed, can still change"
        ax.plot(x, y, color=OBSERVED_COLOUR, marker="o", fillstyle="none", linestyle="none", label=label)
    if forecast.reason is None:
        for low, high, opacity, label in (("p05", "p95", 0.2, "90 % interval"), ("p25", "p75", 0.4, "50 % interval")):
            ax.fill_between(
                ahead["month"], ahead[low], ahead[high], color=FORECAST_COLOUR, alpha=opacity, linewidth=0, label=label
            )
        ax.plot(ahead["month"], ahead["p50"], color=FORECAST_COLOUR, linewidth=1.6, label="median of the forecast")
    else:
        ax.text(0.5, 0.5, f"no forecast: {REASONS[forecast.reason]}", transform=ax.transAxes, ha="center")
    middle = forecast.origin + (ahead["month"].iloc[0] - forecast.origin) / 2
    ax.plot(
        [middle] * 2, [0, 1], transform=ax.get_xaxis_transform(), color=OBSERVED_COLOUR, linewidth=0.6, linestyle=":"
    )
    ax.set_ylim(bottom=0)
    ax.set_ylabel("deaths a month")
    simulated = "SIMULATED: " if forecast.simulated else ""
    ax.set_title(
        f"{simulated}{forecast.name}, {OUTCOME_LABELS[forecast.outcome]['en']}, data to {forecast.origin:%B %Y}"
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    return ax
