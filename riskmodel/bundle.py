"""Trained models on disk: a folder each, with a manifest that says what is in it, and pointers to
the one in service and to the one that runs in its shadow.

Nothing is unpickled before its digest is checked. It knows nothing of how a model is trained, and imports neither
scikit-learn nor the models before one is loaded.
"""

import hashlib
import io
import json
import platform
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from riskmodel.errors import Refused
from riskmodel.home import atomic_write, sync
from riskmodel.months import Month, month

if TYPE_CHECKING:
    from riskmodel.forecasting.component import Explainable
    from riskmodel.forecasting.escalation import Escalation

FORMAT = 3
"""Raise it when pickled classes are renamed or change their fields: `load` refuses older bundles with a reason.

Format 1 had no escalation model. Format 2 had the classes of before the move into packages.
"""
MODEL, MANIFEST = "model.joblib", "manifest.json"
CHAMPION, CHALLENGER = "champion", "challenger"
PACKAGES = ("numpy", "pandas", "scikit-learn", "joblib", "vigie")
COMPRESSION = ("zlib", 3)


@dataclass(frozen=True)
class Provenance:
    """What a model was made from: `scores` are losses by name, `trained_at` is ISO 8601 in UTC, `origin` YYYY-MM.

    `configuration` is the model before it learned anything, as text, and `code` the digest of the code that made it;
    both are empty for a model of an earlier Vigie, which did not write them down.
    """

    outcome: str
    origin: str
    data_digest: str
    simulated: bool
    seed: int
    features: tuple[str, ...]
    scores: Mapping[str, Any]
    trained_at: str
    configuration: str = ""
    code: str = ""


@dataclass(frozen=True)
class Bundle:
    """A loaded model, and who speaks of escalation beside it. `digest` is the SHA-256 of the file that holds both."""

    id: str
    digest: str
    model: "Explainable"
    escalation: "Escalation"
    provenance: Provenance

    @property
    def outcome(self) -> str:
        return self.provenance.outcome

    @property
    def origin(self) -> Month:
        return month(self.provenance.origin)

    @property
    def trained_at(self) -> str:
        return self.provenance.trained_at


def save(model: "Explainable", provenance: Provenance, models: Path, escalation: "Escalation | None" = None) -> str:
    """Write a bundle, whole or not at all; returns its id. The same model of the same data is kept once.

    Without an `escalation` the model's draws speak for themselves.
    """
    import joblib

    from riskmodel.forecasting.escalation import Escalation

    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / ".lock"):
        for left in models.glob(".*.part"):
            shutil.rmtree(left)
        part = models / ".new.part"
        part.mkdir()
        joblib.dump((model, escalation or Escalation()), part / MODEL, compress=COMPRESSION)
        content = {
            "format": FORMAT,
            **asdict(provenance),
            "files": {MODEL: _digest((part / MODEL).read_bytes())},
            "versions": _versions(),
        }
        timeless = {name: value for name, value in content.items() if name != "trained_at"}
        realm = "simulated-" if provenance.simulated else ""
        name = f"{realm}{provenance.outcome}-{provenance.origin}-{_digest(_written(timeless))[:12]}"
        (part / MANIFEST).write_bytes(_written(_sealed({"id": name, **content})))
        for path in (part / MODEL, part / MANIFEST, part):
            sync(path)
        if _whole(models / name):
            shutil.rmtree(part)
        else:
            if (models / name).exists():
                (models / name).rename(models / ".altered.part")
            part.rename(models / name)
            sync(models)
    return name


def load(path: Path) -> Bundle:
    """Read a bundle. Raises Refused, with the reason, for one that was altered or that this Vigie cannot use."""
    manifest, files = _verified(path)
    if why := _outgrown(manifest):
        raise Refused(f"the model {path.name} {why}: run vigie train again")
    model, escalation = _unpickled(path, files[MODEL])
    return Bundle(manifest["id"], manifest["files"][MODEL], model, escalation, _provenance(manifest))


def provenance(path: Path) -> Provenance:
    """What a bundle says it was made from. Raises Refused if it is not whole."""
    return _provenance(_verified(path)[0])


def _provenance(manifest: Mapping[str, Any]) -> Provenance:
    return Provenance(**{name: manifest[name] for name in Provenance.__dataclass_fields__ if name in manifest})


def outgrown(path: Path) -> str | None:
    """Why a bundle that is whole is none for this Vigie any more, or None. Raises Refused if it is not whole."""
    return _outgrown(_verified(path)[0])


def _outgrown(manifest: Mapping[str, Any]) -> str | None:
    from riskmodel.indicators.panel import INDICATORS

    if manifest["format"] < FORMAT:
        return "was made by an earlier Vigie"
    if (trained := manifest["versions"]["scikit-learn"]) != (here := version("scikit-learn")):
        return f"was trained by scikit-learn {trained}, and here is {here}"
    if manifest["features"] != [indicator.name for indicator in INDICATORS]:
        return "was trained on other indicators than this Vigie has"
    return None


def set_champion(models: Path, name: str) -> None:
    """Put a bundle into service among those of its realm, simulated or real. Raises Refused if it is not whole."""
    manifest, _ = _verified(models / name)
    with atomic_write(_pointer(models, simulated=manifest["simulated"])) as part:
        part.write_text(f"{name}\n", encoding="utf-8")


def champion(models: Path, *, simulated: bool) -> Path | None:
    """The bundle in service for simulated or real data, or None. Raises Refused for a pointer that is no name."""
    return _pointed_at(models, _pointer(models, simulated=simulated))


def set_challenger(models: Path, name: str) -> None:
    """Let a bundle run in the shadow of the one in service of its realm. Raises Refused if it is not whole."""
    manifest, _ = _verified(models / name)
    with atomic_write(_pointer(models, simulated=manifest["simulated"], role=CHALLENGER)) as part:
        part.write_text(f"{name}\n", encoding="utf-8")


def drop_challenger(models: Path, *, simulated: bool) -> None:
    """Let none run in the shadow any more."""
    _pointer(models, simulated=simulated, role=CHALLENGER).unlink(missing_ok=True)


def challenger(models: Path, *, simulated: bool) -> Path | None:
    """The bundle that runs in the shadow, or None. Raises Refused for a pointer that is no name."""
    return _pointed_at(models, _pointer(models, simulated=simulated, role=CHALLENGER))


def _pointed_at(models: Path, pointer: Path) -> Path | None:
    if not pointer.exists():
        return None
    name = pointer.read_text(encoding="utf-8").strip()
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise Refused(f"{pointer} does not name a model")
    return models / name


def _pointer(models: Path, *, simulated: bool, role: str = CHAMPION) -> Path:
    return models / (f"{role}-simulated" if simulated else role)


def _whole(path: Path) -> bool:
    try:
        _verified(path)
    except Refused:
        return False
    return True


def _verified(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the content of the files it names. Raises Refused unless all are just as written."""
    if not path.is_dir():
        raise Refused(f"there is no model {path.name} in {path.parent}")
    held = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    altered = f"the model {path.name} was altered"
    if (written := held.pop(MANIFEST, None)) is None:
        raise Refused(f"the model {path.name} has no {MANIFEST}")
    try:
        manifest = json.loads(written)
    except ValueError:
        raise Refused(f"{altered}: its {MANIFEST} cannot be read") from None
    if not isinstance(manifest, dict) or _written(_sealed(manifest)) != written or manifest.get("id") != path.name:
        raise Refused(f"{altered}: its {MANIFEST} is not as it was written")
    if manifest["format"] > FORMAT:
        raise Refused(f"the model {path.name} has format {manifest['format']}; this Vigie reads {FORMAT}")
    if odd := held.keys() ^ manifest["files"].keys():
        raise Refused(f"{altered}: missing or extra file {', '.join(sorted(odd))}")
    for name, digest in manifest["files"].items():
        if _digest(held[name]) != digest:
            raise Refused(f"{altered}: {name} does not have the digest that its {MANIFEST} states")
    return manifest, held


def _unpickled(path: Path, content: bytes) -> "tuple[Explainable, Escalation]":
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            held: tuple[Explainable, Escalation] = joblib.load(io.BytesIO(content))
        except InconsistentVersionWarning as skew:
            raise Refused(f"the model {path.name} holds parts of another scikit-learn: {skew}") from None
        except (ImportError, AttributeError) as gone:
            raise Refused(f"the model {path.name} needs code that this Vigie has not: {gone}") from None
    return held


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def _sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the digest of all the rest of it."""
    content = {name: value for name, value in manifest.items() if name != "seal"}
    return {**content, "seal": _digest(_written(content))}


def _written(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
