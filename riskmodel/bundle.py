"""Model bundles on disk: one folder each, with a manifest, and pointers to the champion and the challenger.

The champion is the bundle in service; the challenger runs in its shadow. A bundle has the model, its golden prediction
and the source of a modeler's own modules. Nothing is unpickled or imported before its digest is checked. Importing this
module loads neither scikit-learn nor the models.
"""

import hashlib
import json
import platform
import re
import shutil
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from riskmodel import golden, model_code
from riskmodel.errors import Refused
from riskmodel.events.manifest import shipped_only
from riskmodel.home import atomic_write, sync
from riskmodel.months import Month, month
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES

if TYPE_CHECKING:
    from riskmodel.forecasting.component import Explainable
    from riskmodel.forecasting.escalation import Escalation

FORMAT = 5
"""Raise it when pickled classes are renamed, change their fields or forecast otherwise: `load` refuses older bundles.

Format 1 had no escalation model. Format 2 had the classes of before the move into packages. Format 4 had no golden
prediction and no sources.
"""
MODEL_FILE, GOLDEN_FILE, MANIFEST_FILE = "model.pickle", "golden.npz", "manifest.json"
SOURCE_SUFFIX = ".py"
"""A file with this suffix is the source of a module: see `riskmodel.model_code`."""
CHAMPION, CHALLENGER = "champion", "challenger"
RECORDED_PACKAGES = ("numpy", "pandas", "scikit-learn", "joblib", "vigie")
"""The manifest records the versions of these packages."""
COMPRESSION = 3


@dataclass(frozen=True)
class Provenance:
    """What a model was trained from.

    `scores` are losses by name, `trained_at` is ISO 8601 in UTC, `origin` is YYYY-MM. `configuration` is the unfitted
    model as text, and `code` the digest of the code that trained it. `shipped_only`: all deaths came from the history
    that ships with Vigie.
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
    shipped_only: bool = False


@dataclass(frozen=True)
class Bundle:
    """A loaded model with its escalation model. `digest` is the SHA-256 of the file that holds both."""

    id: str
    digest: str
    model: "Explainable"
    escalation: "Escalation"
    provenance: Provenance

    @property
    def outcome(self) -> str:
        """The outcome that the model forecasts."""
        return self.provenance.outcome

    @property
    def origin(self) -> Month:
        """The last month of the training data."""
        return month(self.provenance.origin)

    @property
    def trained_at(self) -> str:
        """When the model was trained, ISO 8601 in UTC."""
        return self.provenance.trained_at


def save(
    model: "Explainable",
    provenance: Provenance,
    models: Path,
    escalation: "Escalation | None" = None,
    golden_prediction: bytes | None = None,
) -> str:
    """Write a bundle atomically and return its id. The same model of the same data is stored once.

    Without an `escalation`, the draws of the model give the escalation probability. `golden_prediction` is a file of
    `golden.make`. Raises BadInput for a model whose code cannot be carried.
    """
    from riskmodel.forecasting.escalation import Escalation

    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / ".lock"):
        for leftover in models.glob(".*.part"):  # of a process that was killed while writing
            shutil.rmtree(leftover)
        part = models / ".new.part"
        part.mkdir()
        pickled, sources = model_code.to_bytes((model, escalation or Escalation()))
        files = {MODEL_FILE: zlib.compress(pickled, COMPRESSION)}
        files |= {GOLDEN_FILE: golden_prediction} if golden_prediction else {}
        files |= {name: source.encode() for name, source in sources.items()}
        for name, written in files.items():
            (part / name).write_bytes(written)
        content = {
            "format": FORMAT,
            **asdict(provenance),
            "files": {name: _digest(written) for name, written in files.items()},
            "versions": _versions(),
            "platform": golden.this_platform(),
        }
        # The time of training is no part of the id: training again on the same data gives the same id.
        identity = {name: value for name, value in content.items() if name != "trained_at"}
        prefix = _name_prefix(simulated=provenance.simulated, outcome=provenance.outcome)
        name = f"{prefix}{provenance.origin}-{_digest(_encoded(identity))[:12]}"
        (part / MANIFEST_FILE).write_bytes(_encoded(_sealed({"id": name, **content})))
        for path in (*part.iterdir(), part):
            sync(path)
        if _is_intact(models / name):
            shutil.rmtree(part)
        else:
            if (models / name).exists():
                (models / name).rename(models / ".altered.part")
            part.rename(models / name)
            sync(models)
    return name


def load(path: Path) -> Bundle:
    """Read a bundle, and check that it reproduces its golden prediction.

    Raises Refused, with the reason, if it was altered or this Vigie cannot use it.
    """
    manifest, files = _usable(path)
    model, escalation = _unpickled(path, files)
    if GOLDEN_FILE in files:
        made_on = manifest["platform"] if manifest["versions"] == _versions() else {}
        if reason := golden.failure(model, files[GOLDEN_FILE], made_on):
            raise Refused(f"the model {path.name} does not reproduce its golden prediction ({reason}): run vigie train")
    return Bundle(manifest["id"], manifest["files"][MODEL_FILE], model, escalation, _provenance(manifest))


def usable_digest(path: Path) -> str:
    """Return the digest of a bundle's model without loading it. Raises Refused as `load` does."""
    digest: str = _usable(path)[0]["files"][MODEL_FILE]
    return digest


def _usable(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the files of a bundle. Raises Refused if it was altered or this Vigie cannot use it."""
    manifest, files = _verified(path)
    if reason := _outdated_reason(manifest):
        raise Refused(f"the model {path.name} {reason}: run vigie train again")
    return manifest, files


def read_provenance(path: Path) -> Provenance:
    """Return the provenance of a bundle without loading the model. Raises Refused if the bundle was altered."""
    return _provenance(_verified(path)[0])


def _provenance(manifest: Mapping[str, Any]) -> Provenance:
    return Provenance(**{name: manifest[name] for name in Provenance.__dataclass_fields__ if name in manifest})


def outdated_reason(path: Path) -> str | None:
    """Return why this Vigie cannot use an intact bundle, or None if it can. Raises Refused if it was altered."""
    return _outdated_reason(_verified(path)[0])


def replacement_reason(path: Path, archive: Path) -> str | None:
    """Return why the next model replaces this one without a gate, or None. Raises Refused if it was altered.

    It is outdated, or it knows only the history that ships with Vigie and the archive has more.
    """
    manifest, _ = _verified(path)
    if reason := _outdated_reason(manifest):
        return reason
    if manifest["shipped_only"] and not shipped_only(archive):
        return "was trained on the history that ships with Vigie alone, and other data have come in"
    return None


def _outdated_reason(manifest: Mapping[str, Any]) -> str | None:
    from riskmodel.indicators.panel import INDICATORS

    if manifest["format"] < FORMAT:
        return "was made by an earlier Vigie"
    if (trained := manifest["versions"]["scikit-learn"]) != (installed := version("scikit-learn")):
        return f"was trained with scikit-learn {trained}, but {installed} is installed"
    if manifest["features"] != [indicator.name for indicator in INDICATORS]:
        return "was trained on other indicators than this Vigie has"
    return None


def set_champion(models: Path, name: str) -> None:
    """Put a bundle into service for its outcome and its kind of data, simulated or real.

    Raises Refused if it was altered.
    """
    _set_pointer(models, name, CHAMPION)


def champion(models: Path, *, simulated: bool, outcome: str) -> Path | None:
    """Return the bundle of an outcome in service for simulated or real data, or None.

    Raises Refused for an invalid pointer.
    """
    return _read_pointer(models, CHAMPION, simulated=simulated, outcome=outcome)


def champions(models: Path, *, simulated: bool) -> dict[str, Path]:
    """Return the bundles in service for simulated or real data by outcome, that of the headline first.

    Raises Refused for an invalid pointer.
    """
    found = {outcome: champion(models, simulated=simulated, outcome=outcome) for outcome in OUTCOMES}
    return {outcome: path for outcome, path in found.items() if path is not None}


def set_challenger(models: Path, name: str) -> None:
    """Run a bundle in the shadow of the one of its outcome in service. Raises Refused if it was altered."""
    _set_pointer(models, name, CHALLENGER)


def remove_challenger(models: Path, *, simulated: bool, outcome: str) -> None:
    """Stop running the bundle of an outcome in the shadow."""
    pointer(models, CHALLENGER, simulated=simulated, outcome=outcome).unlink(missing_ok=True)


def challenger(models: Path, *, simulated: bool, outcome: str) -> Path | None:
    """Return the bundle of an outcome that runs in the shadow, or None. Raises Refused for an invalid pointer."""
    return _read_pointer(models, CHALLENGER, simulated=simulated, outcome=outcome)


def pointer(models: Path, role: str, *, simulated: bool, outcome: str) -> Path:
    """Return the file that names the `CHAMPION` or `CHALLENGER` of an outcome for simulated or real data."""
    return models / (f"{role}-simulated-{outcome}" if simulated else f"{role}-{outcome}")


def _set_pointer(models: Path, name: str, role: str) -> None:
    manifest, _ = _verified(models / name)
    target = pointer(models, role, simulated=manifest["simulated"], outcome=manifest["outcome"])
    with atomic_write(target) as part:
        part.write_text(f"{name}\n", encoding="utf-8")


def _read_pointer(models: Path, role: str, *, simulated: bool, outcome: str) -> Path | None:
    file = pointer(models, role, simulated=simulated, outcome=outcome)
    if not file.exists():
        return None
    name = file.read_text(encoding="utf-8").strip()
    # A pointer must lead neither out of the folder of models, nor to forecasts of other deaths.
    prefix = _name_prefix(simulated=simulated, outcome=outcome)
    if not re.fullmatch(f"{prefix}[a-z0-9_-]+", name):
        kind = "simulated" if simulated else "real"
        raise Refused(
            f"{file} does not name a model of {OUTCOME_LABELS[outcome]['en']} from {kind} data: delete it, and put a "
            "model into service with vigie promote or vigie train"
        )
    return models / name


def _name_prefix(*, simulated: bool, outcome: str) -> str:
    """Return how the name of a bundle begins. Its manifest has the same name, so other deaths never fit."""
    return f"{'simulated-' if simulated else ''}{outcome}-"


def _is_intact(path: Path) -> bool:
    try:
        _verified(path)
    except Refused:
        return False
    return True


def _verified(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the content of the files that it names. Raises Refused unless all are as they were written."""
    if not path.is_dir():
        raise Refused(f"there is no model {path.name} in {path.parent}")
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    altered = f"the model {path.name} was altered"
    if (encoded := files.pop(MANIFEST_FILE, None)) is None:
        raise Refused(f"the model {path.name} has no {MANIFEST_FILE}")
    try:
        manifest = json.loads(encoded)
    except ValueError:
        raise Refused(f"{altered}: its {MANIFEST_FILE} cannot be read") from None
    if not isinstance(manifest, dict) or _encoded(_sealed(manifest)) != encoded or manifest.get("id") != path.name:
        raise Refused(f"{altered}: its {MANIFEST_FILE} is not as it was written")
    if manifest["format"] > FORMAT:
        raise Refused(f"the model {path.name} has format {manifest['format']}; this Vigie reads {FORMAT}")
    if difference := files.keys() ^ manifest["files"].keys():
        raise Refused(f"{altered}: missing or extra file {', '.join(sorted(difference))}")
    for name, digest in manifest["files"].items():
        if _digest(files[name]) != digest:
            raise Refused(f"{altered}: {name} does not have the digest that its {MANIFEST_FILE} states")
    return manifest, files


def _unpickled(path: Path, files: Mapping[str, bytes]) -> "tuple[Explainable, Escalation]":
    from sklearn.exceptions import InconsistentVersionWarning

    sources = {name: content.decode() for name, content in files.items() if name.endswith(SOURCE_SUFFIX)}
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            models: tuple[Explainable, Escalation] = model_code.from_bytes(zlib.decompress(files[MODEL_FILE]), sources)
        except InconsistentVersionWarning as mismatch:
            raise Refused(f"the model {path.name} has parts of another scikit-learn: {mismatch}") from None
        except ModuleNotFoundError as missing:
            raise Refused(
                f"the model {path.name} needs the Python module {missing.name}, which is not installed here: install "
                "it into the environment that runs Vigie, or put its folder on PYTHONPATH"
            ) from None
        except (ImportError, AttributeError) as missing:
            raise Refused(f"the model {path.name} needs code that this Vigie does not have: {missing}") from None
    return models


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in RECORDED_PACKAGES}}


def _sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with a digest of everything else in it."""
    content = {name: value for name, value in manifest.items() if name != "seal"}
    return {**content, "seal": _digest(_encoded(content))}


def _encoded(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
