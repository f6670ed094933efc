"""Both forms of the compiled modules: the plain source, and the compiled one, which is built once where no installation has it."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import headwater.wire

HOME = Path(headwater.wire.__file__).parent
CACHE = Path(__file__).parents[2] / ".cache" / "decoder"

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
extension = Extension(sys.argv[1], [sys.argv[1] + ".py"], extra_compile_args=["-O1", "-w"])
modules = cythonize([extension], language_level=3, quiet=True)
setup(ext_modules=modules, script_args=["-q", "build_ext", "--build-lib", ".", "--build-temp", "tmp"])
"""


@functools.cache
def plain(name: str = "pgoutput") -> ModuleType:
    """The source, executed as it stands."""
    return _load(f"{name}_plain", HOME / f"{name}.py")


@functools.cache
def compiled(name: str = "pgoutput") -> ModuleType | None:
    """The compiled form of the same source; None where there is no compiler."""
    installed = importlib.import_module(f"headwater.wire.{name}")
    library = Path(str(installed.__file__))
    if library.suffix != ".py" and library.stat().st_mtime > (HOME / f"{name}.py").stat().st_mtime:  # not one of an older source
        return installed
    built = _build(name)
    return None if built is None else _load(f"{name}_compiled", built)


def _build(name: str) -> Path | None:
    source = HOME / f"{name}.py"
    home = CACHE / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}-{sys.implementation.cache_tag}"
    library = home / f"{name}_compiled{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    if not library.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{name}_compiled.py").write_bytes(source.read_bytes())
        subprocess.run([sys.executable, "-c", BUILD, f"{name}_compiled"], cwd=home, check=False)
    return library if library.exists() else None


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def both(name: str) -> list[ModuleType]:
    """The plain form, and the compiled one where there is a compiler."""
    other = compiled(name)
    return [plain(name)] if other is None else [plain(name), other]
