"""The code of models that are not Vigie's own, such as a modeler's `mine.py`: it is stored with a model.

A stored model carries the source of each module that it needs and that is neither part of Vigie nor installed. When the
model is loaded, these sources become modules of a package of their own. So a model works from any folder, and two
models whose modules have the same name do not mix.
"""

import ast
import builtins
import hashlib
import importlib
import importlib.abc
import importlib.util
import io
import json
import operator
import pickle  # nosec B403  # bytes are unpickled only after their digest was checked
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from riskmodel.errors import BadInput, Refused

OWN_PACKAGES = ("riskmodel", "training", "service", "vigie_data")
PACKAGE_PREFIX = "vigie_model_"
"""The package of a model's modules is this and a digest of their sources."""
PACKAGE_FILE = ".__init__.py"

_SOURCES: dict[str, Mapping[str, str]] = {}
"""The sources of each such package in this process."""


def carried_sources(model: object) -> dict[str, str]:
    """Return the sources that a model carries, by file name: `mine.py`, or `mine.parts.py` for a module of a package.

    Raises BadInput as `to_bytes` does.
    """
    return to_bytes(model)[1]


def to_bytes(model: object) -> tuple[bytes, dict[str, str]]:
    """Return a model as bytes, and the sources that it carries. The bytes begin with the digest of the sources.

    Raises BadInput where the code of the model cannot be carried: it has no file, or is no Python source.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(model)
    sources = dict(sorted(pickler.sources.items()))
    return _digest(sources) + file.getvalue(), sources


def from_bytes(content: bytes, sources: Mapping[str, str]) -> Any:
    """Return the model that `to_bytes` wrote. This runs the code in both arguments: check their digests first.

    Raises Refused where the sources are not those of the model.
    """
    digest = _digest(sources)
    if not content.startswith(digest):
        raise Refused("the sources are not those that the model was stored with")
    return _Unpickler(io.BytesIO(content[len(digest) :]), _package_of(sources)).load()


class LoadedCode:
    """The packages of this process. Unpickled in another process, it makes them there.

    It has to be unpickled before models whose code they are.
    """

    def __reduce__(self) -> tuple[Callable[..., "LoadedCode"], tuple[list[Mapping[str, str]]]]:
        """Carry the sources."""
        return _made_here, (list(_SOURCES.values()),)


def _made_here(packages: Sequence[Mapping[str, str]]) -> LoadedCode:
    for sources in packages:
        _package_of(sources)
    return LoadedCode()


class _Pickler(pickle.Pickler):
    """Writes classes and functions of carried modules as references, and collects the sources of these modules."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.sources: dict[str, str] = {}

    def persistent_id(self, obj: object) -> str | None:
        if not isinstance(obj, type | FunctionType):
            return None
        package, _, name = obj.__module__.partition(".")
        if package in _SOURCES:
            self._add(_SOURCES[package])
        elif obj.__module__ == "__main__":
            raise BadInput(
                f"{obj.__qualname__} is defined in a notebook or script: put it into a module, a file of its own"
            )
        elif spec := _local_spec(obj.__module__):
            name = obj.__module__
            self._add(dict(_sources_behind(spec)))
        else:
            return None
        # One text, which no other part of the model can share: else the bytes would depend on which texts are shared.
        return f"{name}:{obj.__qualname__}"

    def _add(self, sources: Mapping[str, str]) -> None:
        for file, source in sources.items():
            if self.sources.setdefault(file, source) != source:
                raise BadInput(f"the model has parts of two different modules {file}: give one of them another name")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, package: str) -> None:
        super().__init__(file)
        self._package = package

    def persistent_load(self, pid: str) -> Any:
        name, _, qualified_name = pid.partition(":")
        return operator.attrgetter(qualified_name)(importlib.import_module(f"{self._package}.{name}"))


def _installed_folders() -> list[Path]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [Path(path).resolve() for path in (*paths, *site.getsitepackages(), site.getusersitepackages())]


def _local_spec(name: str) -> ModuleSpec | None:
    """Return the spec of a module that is neither Vigie's nor installed, or None."""
    if name.partition(".")[0] in (*OWN_PACKAGES, *sys.builtin_module_names):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return None if any(path.is_relative_to(folder) for folder in _installed_folders()) else spec


def _sources_behind(spec: ModuleSpec) -> Iterator[tuple[str, str]]:
    """Yield the source of a module, and of the local modules that it imports, by file name."""
    found, waiting = set[str](), [spec]
    while waiting:
        spec = waiting.pop()
        if spec.name in found:
            continue
        found.add(spec.name)
        path = Path(str(spec.origin))
        if path.suffix != ".py":
            raise BadInput(f"{path} is no Python source, and a model can carry nothing else: install it")
        source = importlib.util.decode_source(path.read_bytes())
        is_package = spec.submodule_search_locations is not None
        yield spec.name + (PACKAGE_FILE if is_package else ".py"), source
        names = _imported_names(source, spec.name if is_package else spec.name.rpartition(".")[0])
        waiting += filter(None, map(_local_spec, (*_parents(spec.name), *names)))


def _imported_names(source: str, package: str) -> Iterator[str]:
    """Yield the names of all modules that a source may import: of `from a import b`, `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from (*_parents(name), name)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _digest(sources: Mapping[str, str]) -> bytes:
    return hashlib.sha256(json.dumps(sorted(sources.items())).encode()).digest()


def _package_of(sources: Mapping[str, str]) -> str:
    """Make the package of these sources, if this process does not have it yet, and return its name."""
    name = PACKAGE_PREFIX + _digest(sources).hex()[:16]
    if name not in _SOURCES:
        package = ModuleType(name)
        package.__path__ = []
        sys.modules[name] = package
        _SOURCES[name] = dict(sources)
    return name


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the packages in `_SOURCES`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        sources = _SOURCES.get(package, {})
        for file, is_package in ((f"{name}.py", False), (name + PACKAGE_FILE, True)):
            if file in sources:
                loader = _Loader(package, file, sources[file])
                return importlib.util.spec_from_loader(fullname, loader, is_package=is_package)
        if any(file.startswith(f"{name}.") for file in sources):  # a folder without __init__.py
            return ModuleSpec(fullname, None, is_package=True)
        return None


class _Loader(importlib.abc.ExecutionLoader):
    """Runs a source. What it imports comes from its own package, if that has it."""

    def __init__(self, package: str, file: str, source: str) -> None:
        self._package, self._file, self._source = package, file, source

    def get_filename(self, fullname: str) -> str:
        return f"{self._package}/{self._file}"

    def get_source(self, fullname: str) -> str:
        return self._source

    def is_package(self, fullname: str) -> bool:
        return self._file.endswith(PACKAGE_FILE)

    def exec_module(self, module: ModuleType) -> None:
        # Also for imports inside functions, which run later: Python takes `__import__` from here.
        importer = partial(_import_within, self._package)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": importer}
        super().exec_module(module)


def _import_within(
    package: str,
    name: str,
    globals_: Mapping[str, object] | None = None,
    locals_: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Import as `__import__` does, but from a package of carried modules where it has the module."""
    root = f"{package}.{name.partition('.')[0]}"
    if level or importlib.util.find_spec(root) is None:
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)
    module = importlib.import_module(f"{package}.{name}")
    for each in fromlist or ():
        if not hasattr(module, each) and _has(f"{package}.{name}.{each}"):
            importlib.import_module(f"{package}.{name}.{each}")
    return module if fromlist else sys.modules[root]


def _has(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the module before the last dot is no package
        return False


sys.meta_path.append(_Finder())
