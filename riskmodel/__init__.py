"""The domain of Vigie: pure functions and small classes from tables to tables. It knows no web server and no store.

`__all__` has the public names, for notebooks and scripts: docs/python.md. They load on first use, because pandas takes
a second to load and the web process does without it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riskmodel.home_reader import HomeReader, open_home
    from riskmodel.plots import plot_forecast
    from riskmodel.scored_region import CountryForecast
else:
    _MODULES = {
        "CountryForecast": "scored_region",
        "HomeReader": "home_reader",
        "open_home": "home_reader",
        "plot_forecast": "plots",
    }

    def __getattr__(name: str) -> object:
        """Load a public name."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        """Return what an editor completes."""
        return sorted({*globals(), *__all__})


__all__ = ["CountryForecast", "HomeReader", "__version__", "open_home", "plot_forecast"]
__version__ = version("vigie")
