"""A warning where the compiled part is older than its sources: in an editable install, after they were changed."""

import os
import warnings

_SOURCES = (".pyx", ".pxd", ".pxi", ".hpp", ".h")
_FLAGS = "build.py"  # beside the folder


def warn_if_stale(engine: str) -> None:
    """Warn if a source is newer than all that was built.

    Parameters
    ----------
    engine : str
        The path of the built engine. Beside it are the other extensions, and in an editable install the sources.
    """
    folder, name = os.path.split(engine)
    if not os.path.exists(os.path.join(folder, "engine.pyx")):
        return  # a wheel, in which nothing changes
    suffix = name.removeprefix("engine")  # there may be builds for other Pythons too
    newest, time_of_newest, built = "", 0.0, 0.0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                built = max(built, entry.stat().st_mtime)
            elif entry.name.endswith(_SOURCES) and entry.stat().st_mtime > time_of_newest:
                newest, time_of_newest = entry.path, entry.stat().st_mtime
    flags = os.path.join(os.path.dirname(folder), _FLAGS)
    if os.stat(flags).st_mtime > time_of_newest:
        newest, time_of_newest = flags, os.stat(flags).st_mtime
    if time_of_newest > built:
        warnings.warn(
            f"{newest} has changed since fastopt was compiled, with no effect yet; run `pip install -e .` again",
            RuntimeWarning,
            stacklevel=4,  # where fastopt is imported
        )
