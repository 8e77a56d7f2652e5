"""Identify what decides figures besides the data: the code, the tables that ship with it, and the libraries."""

import hashlib
import inspect
import pickle  # nosec B403  # for the name of an error only
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import riskmodel
import training
from riskmodel import model_code
from riskmodel.errors import BadInput
from riskmodel.forecasting.component import Component

PARTS_WITHOUT_FIGURES = (
    *("__main__.py", "alerting", "bundle.py", "cli", "errors.py", "explanation", "hindcasts.py"),
    *("hindcast_payload.py", "home.py", "home_reader.py", "home_settings.py", "plots.py", "scored_region.py"),
    *("golden.py", "model_code.py", "refits.py"),
)
"""Modules and packages of `riskmodel` that no figure depends on. A change in them leaves the digest as it is."""
SCORING_MODULES = ("ablation.py", "draw_scores.py", "evaluation.py", "results.py", "windows.py")
"""Modules of `training` that figures depend on."""
LIBRARIES = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")


@cache
def code_digest() -> str:
    """Return the SHA-256 of everything that decides figures; it does not depend on where Vigie is installed."""
    digest = hashlib.sha256()
    for name, content in _digested_parts():
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def configuration(model: Component) -> str:
    """Return the repr of a model that has not been fitted; for a model of foreign code, with the digest of that code.

    Raises ValueError for a repr that does not tell two configurations of a class apart.
    """
    text = repr(model)
    if " object at 0x" in text or "<function" in text:
        raise ValueError(
            f"the model {model.name} needs a repr that shows its configuration, as a dataclass has: {text}"
        )
    name = type(model).__module__
    try:
        sources = model_code.carried_sources(model)
    except (BadInput, pickle.PicklingError, AttributeError, TypeError):  # a back-test of it is possible all the same
        sources = {}
    if not sources and name.partition(".")[0] not in ("riskmodel", "training"):
        sources = {name: inspect.getsource(inspect.getmodule(type(model)) or type(model))}
    if not sources:
        return text
    code = "".join(f"{file}\n{source}" for file, source in sources.items())
    return f"{text} of {', '.join(sources)} {hashlib.sha256(code.encode()).hexdigest()[:12]}"


def is_same_configuration(one: str, other: str) -> bool:
    """Return whether two texts of `configuration` are the same, seeds apart: fields with the name `seed`."""
    first, second = (re.sub(r"\bseed=\d+", "seed=*", text) for text in (one, other))
    return bool(one) and first == second


def _digested_parts() -> Iterator[tuple[str, bytes]]:
    for library in LIBRARIES:
        yield library, version(library).encode()
    for path in sorted(files("vigie_data").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".csv"):  # no figure depends on the alert rules, which are the one TOML file
            yield f"data/{path.name}", path.read_bytes()
    domain, offline = (Path(str(package.__file__)).parent for package in (riskmodel, training))
    for module in sorted(domain.rglob("*.py")):
        if module.relative_to(domain).parts[0] not in PARTS_WITHOUT_FIGURES:
            yield module.relative_to(domain).as_posix(), module.read_bytes()
    for name in SCORING_MODULES:
        yield f"training/{name}", (offline / name).read_bytes()
