"""Offline work on models: back-tests, fitting, the gate, model cards. It does not know the service.

`__all__` has the public names, for notebooks and scripts: docs/python.md. They load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.backtest_table import backtest
else:

    def __getattr__(name: str) -> object:
        """Load a public name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.backtest_table"), name)

    def __dir__() -> list[str]:
        """Return what an editor completes."""
        return sorted({*globals(), *__all__})


__all__ = ["backtest"]
