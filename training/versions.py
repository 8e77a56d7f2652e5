"""What decides the figures of a back-test or a model beside the data: the code, the tables that ship, the libraries."""

import hashlib
import inspect
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import riskmodel
import training
from riskmodel.forecasting.component import Component

TELLING = (*("__main__.py", "bundle.py", "cli", "errors.py", "explanation", "home.py"),)
"""Rooms of the domain that no figure comes from: they only tell, keep or fetch."""
JUDGING = ("ablation.py", "backtest.py", "results.py", "windows.py")
LIBRARIES = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")


@cache
def code_digest() -> str:
    """SHA-256 of all that decides figures, the same wherever it is installed."""
    said = hashlib.sha256()
    for name, content in _parts():
        said.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return said.hexdigest()


def configuration(component: Component) -> str:
    """What a component is before it has learned anything; with the digest of its code where that is not Vigie's own.

    Raises ValueError for a component that cannot be told from another of its class by its text.
    """
    written = repr(component)
    if " object at 0x" in written or "<function" in written:
        raise ValueError(
            f"the component {component.name} needs a repr that says what it is, as a dataclass has: {written}"
        )
    if (room := type(component).__module__).partition(".")[0] not in ("riskmodel", "training"):
        source = inspect.getsource(inspect.getmodule(type(component)) or type(component))
        return f"{written} of {room} {hashlib.sha256(source.encode()).hexdigest()[:12]}"
    return written


def _parts() -> Iterator[tuple[str, bytes]]:
    for library in LIBRARIES:
        yield library, version(library).encode()
    for path in sorted(files("vigie_data").iterdir(), key=lambda path: path.name):
        if path.name.endswith((".csv", ".toml")):
            yield f"data/{path.name}", path.read_bytes()
    domain, workshop = (Path(str(package.__file__)).parent for package in (riskmodel, training))
    for module in sorted(domain.rglob("*.py")):
        if module.relative_to(domain).parts[0] not in TELLING:
            yield module.relative_to(domain).as_posix(), module.read_bytes()
    for name in JUDGING:
        yield f"training/{name}", (workshop / name).read_bytes()
