"""What pyproject.toml cannot say: one extension for each instruction set, and the flags that keep the bits."""

import os
import platform
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = "fastopt/_core"

# No contraction, so that no multiplication and addition are fused into one rounding, and no fast math, whatever
# CFLAGS says. Without errno and traps, which nothing here reads, square roots and comparisons vectorise.
FLAGS = {
    "unix": ["-O3", "-fno-fast-math", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"],
    "msvc": ["/O2", "/fp:precise"],
}
# The x87 unit of 32-bit processors would round everything twice.
if platform.machine() in ("i386", "i686"):
    FLAGS["unix"] += ["-msse2", "-mfpmath=sse"]
# The engine is C++ for the sake of its threads.
ENGINE = {"unix": ["-std=c++17", "-pthread"], "msvc": ["/std:c++17"]}
INSTRUCTIONS = {
    "unix": {
        "baseline": [],
        "avx2": ["-mavx2"],
        "avx512": ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"],
    },
    "msvc": {"baseline": [], "avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]},
}


def builds_x86():
    """Whether the target is x86 alone: a build for two architectures at once gets the baseline only."""
    flags = os.environ.get("ARCHFLAGS")
    if sys.platform == "darwin" and flags:
        return "x86_64" in flags and "arm64" not in flags
    target = sysconfig.get_platform().rpartition("-")[2]  # such as x86_64, amd64, aarch64 or universal2
    return target in ("x86_64", "amd64", "win32", "i686")


class BuildExt(build_ext):
    """Adds the flags once the compiler is known."""

    def build_extension(self, ext):
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        name = ext.name.rpartition(".")[2]
        ext.extra_compile_args = FLAGS[kind] + INSTRUCTIONS[kind].get(name, [])
        if name == "engine":
            ext.extra_compile_args += ENGINE[kind]
            ext.extra_link_args = ["-pthread"] if kind == "unix" else []
        super().build_extension(ext)


def extensions():
    import numpy
    from Cython.Build import cythonize

    kernels = ["baseline", "avx2", "avx512"] if builds_x86() else ["baseline"]
    modules = [Extension(f"fastopt._core.{name}", [f"{CORE}/{name}.pyx"]) for name in ["cpu", *kernels]]
    modules.append(
        Extension(
            "fastopt._core.engine",
            [f"{CORE}/engine.pyx"],
            include_dirs=[numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_22_API_VERSION")],
        )
    )
    directives = {
        "language_level": 3,
        "cdivision": True,
        "boundscheck": False,
        "wraparound": False,
        "freethreading_compatible": True,
    }
    return cythonize(modules, compiler_directives=directives)


if os.environ.get("FASTOPT_NO_EXTENSIONS", "0") not in ("", "0"):
    setup()
else:
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
