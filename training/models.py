"""Where a model of the workshop comes from: Vigie's own, or a function of somebody's module that is named."""

import importlib
import sys
from pathlib import Path

from riskmodel.forecasting.component import Explainable

OURS = "riskmodel.forecasting.pool:served"


def named(written: str, seed: int) -> Explainable:
    """Call `MODULE:FUNCTION` with the seed. The module may lie in the folder one stands in.

    To be judged, a component needs `name`, `fit` and `forecast`; to serve, `reads` and `votes` too. Raises ValueError
    for what is no such function, or gives no component.
    """
    module, _, function = written.partition(":")
    if str(here := Path.cwd()) not in sys.path:
        sys.path.insert(0, str(here))
    try:
        component: Explainable = getattr(importlib.import_module(module), function)(seed)
    except (ImportError, AttributeError, TypeError, ValueError) as wrong:
        raise ValueError(f"{written!r} is no MODULE:FUNCTION that makes a model from a seed: {wrong}") from None
    if not all(hasattr(component, part) for part in ("name", "fit", "forecast")):
        raise ValueError(f"what {written} gives is no component: it needs name, fit and forecast")
    return component
