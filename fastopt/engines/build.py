"""How loops are built: the flags that keep the bits, for each compiler and instruction set.

setup.py builds the package with it, and `fastopt.compile` runs it in a process of its own, to build the loops of a
user's rule. So it imports nothing of the package.
"""

import json
import os
import platform
import sys
import sysconfig
from importlib import import_module
from typing import Any

from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

# No contraction, so that no multiplication and addition are fused into one rounding, and no fast math, whatever
# CFLAGS says. Without errno and traps, which nothing here reads, square roots and comparisons vectorise. Nothing is
# optimised at link time, where it would be seen that what words.pxi keeps from compilers is constant.
FLAGS = {
    "unix": ["-O3", "-fno-fast-math", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fno-lto"],
    "msvc": ["/O2", "/fp:precise"],
}
# The x87 unit of 32-bit processors would round everything twice.
if platform.machine() in ("i386", "i686"):
    FLAGS["unix"] += ["-msse2", "-mfpmath=sse"]
# CFLAGS reach the linker too, which for fast math would add code that flushes subnormals in the whole process.
LINK = {"unix": ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations"], "msvc": []}
INSTRUCTIONS = {
    "unix": {
        "baseline": [],
        "avx2": ["-mavx2"],
        "avx512": ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"],
    },
    "msvc": {"baseline": [], "avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]},
}
# The engine is C++ for the sake of its threads.
ENGINE = {"unix": ["-std=c++17", "-pthread"], "msvc": ["/std:c++17"]}
DIRECTIVES = {
    "language_level": 3,
    "cdivision": True,
    "boundscheck": False,
    "wraparound": False,
    "freethreading_compatible": True,
}


def builds_x86() -> bool:
    """Whether the target is x86 alone: a build for two architectures at once gets the baseline only."""
    flags = os.environ.get("ARCHFLAGS")
    if sys.platform == "darwin" and flags:
        return "x86_64" in flags and "arm64" not in flags
    target = sysconfig.get_platform().rpartition("-")[2]  # such as x86_64, amd64, aarch64 or universal2
    return target in ("x86_64", "amd64", "win32", "i686")


class BuildExt(build_ext):
    """Adds the flags once the compiler is known. An extension's name ends in that of its instruction set."""

    def build_extension(self, ext: Extension) -> None:
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        name = ext.name.rpartition(".")[2].rpartition("_")[2]
        ext.extra_compile_args = FLAGS[kind] + INSTRUCTIONS[kind].get(name, [])
        ext.extra_link_args = [*LINK[kind]]
        if name == "engine":
            ext.extra_compile_args += ENGINE[kind]
            ext.extra_link_args += ["-pthread"] if kind == "unix" else []
        super().build_extension(ext)  # pyright: ignore[reportUnknownMemberType] - the stubs leave it untyped


def build(sources: dict[str, str], include: list[str], folder: str) -> None:
    """Build extensions, of sources by their names, in a folder."""
    cythonize: Any = import_module("Cython.Build").cythonize  # which has no annotations
    extensions = [Extension(name, [source]) for name, source in sources.items()]
    made: list[Any] = cythonize(extensions, include_path=include, compiler_directives=DIRECTIVES, quiet=True)
    command = BuildExt(Distribution({"ext_modules": made}))
    command.build_lib, command.build_temp = folder, os.path.join(os.path.dirname(folder), "temporary")
    command.parallel = len(made)
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        build(**json.load(file))
