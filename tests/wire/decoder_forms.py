"""Both forms of the decoder as modules: the plain source, and the compiled one, which is built once where no installation has it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import headwater.wire

SOURCE = Path(headwater.wire.__file__).with_name("pgoutput.py")
CACHE = Path(__file__).parents[2] / ".cache" / "decoder"

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
extension = Extension("pgoutput_compiled", [sys.argv[1]], extra_compile_args=["-O1", "-w"])
modules = cythonize([extension], language_level=3, quiet=True)
setup(ext_modules=modules, script_args=["-q", "build_ext", "--build-lib", ".", "--build-temp", "tmp"])
"""


def plain() -> ModuleType:
    """The source, executed as it stands."""
    return _load("pgoutput_plain", SOURCE)


def compiled() -> ModuleType | None:
    """The compiled form of the same source; None where there is no compiler."""
    installed = importlib.import_module("headwater.wire.pgoutput")
    if installed.COMPILED:
        return installed
    built = _build()
    return None if built is None else _load("pgoutput_compiled", built)


def _build() -> Path | None:
    home = CACHE / f"{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}-{sys.implementation.cache_tag}"
    library = home / f"pgoutput_compiled{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    if not library.exists():
        home.mkdir(parents=True, exist_ok=True)
        copy = home / "pgoutput_compiled.py"
        copy.write_bytes(SOURCE.read_bytes())
        subprocess.run([sys.executable, "-c", BUILD, copy.name], cwd=home, check=False)
    return library if library.exists() else None


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
