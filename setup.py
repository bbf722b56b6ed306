"""What pyproject.toml cannot say: an extension for each instruction set, with the flags of fastopt/engines/build.py."""

import importlib.util
import os

from setuptools import Extension, setup

CORE = "fastopt/engines/compiled"


def building():
    """The module fastopt.engines.build, by its path: the package itself cannot be imported yet."""
    spec = importlib.util.spec_from_file_location("build", "fastopt/engines/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def extensions(build):
    import numpy
    from Cython.Build import cythonize

    kernels = ["baseline", "avx2", "avx512"] if build.builds_x86() else ["baseline"]
    modules = [Extension(f"fastopt.engines.compiled.{name}", [f"{CORE}/{name}.pyx"]) for name in ["cpu", *kernels]]
    modules += [
        Extension(
            f"fastopt.engines.compiled.{name}",
            [f"{CORE}/{name}.pyx"],
            include_dirs=[numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_22_API_VERSION")],
        )
        for name in ["busy", "engine"]
    ]
    return cythonize(modules, compiler_directives=build.DIRECTIVES)


if os.environ.get("FASTOPT_NO_EXTENSIONS", "0") not in ("", "0"):
    setup()
else:
    build = building()
    try:
        setup(ext_modules=extensions(build), cmdclass={"build_ext": build.BuildExt})
    except SystemExit as error:
        raise SystemExit(
            f"{error}\nWithout a C compiler that works, FASTOPT_NO_EXTENSIONS=1 installs fastopt to run on NumPy alone."
        ) from None
