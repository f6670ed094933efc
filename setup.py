"""The one thing that pyproject.toml can't say: compile the decoder where a compiler is at hand, and do without where it isn't.

The modules are written in Cython's pure-Python mode, so one source runs compiled and uncompiled. `optional` turns every failure to
compile (no compiler, no Python headers) into a warning; the uncompiled modules are used then.
"""

from pathlib import Path

from setuptools import Extension, setup

COMPILED = [f"src/headwater/wire/{name}.py" for name in ("pgoutput", "copydata", "mysql_rows", "binlog")]


def extensions() -> list[Extension]:
    """The extension modules, translated to C; none while their source does not exist."""
    found = [path for path in COMPILED if (Path(__file__).parent / path).exists()]
    if not found:
        return []
    from Cython.Build import cythonize

    modules = [
        Extension(path.removeprefix("src/").removesuffix(".py").replace("/", "."), [path], extra_compile_args=["-O3"]) for path in found
    ]
    translated: list[Extension] = cythonize(modules, build_dir="build/cython", language_level=3)
    for module in translated:
        module.optional = True  # cythonize would not pass it on
    return translated


setup(ext_modules=extensions())
