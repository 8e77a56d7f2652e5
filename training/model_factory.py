"""Make an unfitted model from its name: Vigie's own, or a function of a modeler's module."""

import importlib
import pickle  # nosec B403  # for the name of an error only
import sys
from contextlib import suppress
from pathlib import Path

from riskmodel import model_code
from riskmodel.errors import BadInput
from riskmodel.forecasting.component import Explainable

SERVED_MODEL = "riskmodel.forecasting.pool:served_model"


def make_model(name: str, seed: int) -> Explainable:
    """Call the function `MODULE:FUNCTION` with a seed. The module can be in the current folder.

    A model needs `name`, `fit` and `forecast` to be back-tested, and `used_indicators` and `ensemble_probabilities` to
    be served. Raises ValueError where there is no such function, or it returns no model.
    """
    module, _, function = name.partition(":")
    if str(here := Path.cwd()) not in sys.path:
        sys.path.insert(0, str(here))
    try:
        model: Explainable = getattr(importlib.import_module(module), function)(seed)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{name!r} is no MODULE:FUNCTION that makes a model from a seed: {error}") from None
    if not all(hasattr(model, attribute) for attribute in ("name", "fit", "forecast")):
        raise ValueError(f"{name} returns no model: a model needs name, fit and forecast")
    # As a bundle would have it: what works here then works wherever the bundle is loaded.
    with suppress(BadInput, pickle.PicklingError, AttributeError, TypeError):  # such a model can be back-tested only
        content, sources = model_code.to_bytes(model)
        model = model_code.from_bytes(content, sources) if sources else model
    return model
