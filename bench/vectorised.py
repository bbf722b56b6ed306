"""Checks that every loop is vectorised, by each compiler here: ``python bench/vectorised.py``.

A loop that stays scalar is up to ten times slower, and no test of its bits can notice. So the compiler's own report is
read: each loop over elements has to be vectorised, for each instruction set, and not in two versions between which
addresses decide at run time, as far as the compiler tells (GCC does). Nor may the machine code hold a fused
multiply-add, which would change bits.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How each compiler is called for C++, and what makes it report; functions that are equal are reported each by itself.
COMPILERS = {"gcc": ("g++", "-fopt-info-vec-optimized -fno-ipa-icf"), "clang": ("clang++", "-Rpass=loop-vectorize")}
VECTORISED = re.compile(r"(\w+)\.c:(\d+):\d+: (?:optimized: +loop vectorized|remark: vectorized loop)")
VERSIONED = re.compile(r"(\w+)\.c:(\d+):\d+: optimized: +loop versioned")
FUNCTION = re.compile(r"^static .*?__pyx_f_\w*?compiled_\d+[a-z]+\d*?_(\w+)\(.*\) \{$")
LOOP = re.compile(r"^ +for \(__pyx_t_\d+ = 0; __pyx_t_\d+ < __pyx_t_\d+; __pyx_t_\d+\+=1\) \{$")
FUSED = re.compile(r"\t(vfn?m(?:add|sub)\w*|fn?m(?:add|sub)|fml[as])\s")


def loops_of(text):
    """The lines at which C code loops over elements, with the functions that they stand in."""
    function, found = None, {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = FUNCTION.match(line)
        if match:
            function = match[1]
        elif line.startswith("}"):
            function = None
        elif function and LOOP.match(line):
            found[number] = function
    return found


def faults(source, compiler):
    """What is wrong with the loops of a source folder, as a compiler makes them; and how many loops there are."""
    cxx, report = COMPILERS[compiler]
    environment = os.environ | {
        "CC": compiler,
        "CXX": cxx,
        "LDSHARED": f"{compiler} -shared",
        "LDCXXSHARED": f"{cxx} -shared",
        "CFLAGS": report,
    }
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "source"
        shutil.copytree(
            source, copy, ignore=shutil.ignore_patterns(".git", ".nox", "*.so", "*.c", "*.cpp", "build", ".venv")
        )
        command = [sys.executable, "setup.py", "build_ext", "--build-lib", "built"]
        built = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if built.returncode:
            sys.exit(built.stdout + built.stderr)
        good = {(module, int(line)) for module, line in VECTORISED.findall(built.stderr)}
        doubled = {(module, int(line)) for module, line in VERSIONED.findall(built.stderr)}
        found, count = [], 0
        for module in ("baseline", "avx2", "avx512", "engine"):
            code = copy / "fastopt" / "engines" / "compiled" / f"{module}.c"
            for line, function in loops_of(code.read_text()).items() if code.exists() else ():  # the engine is C++
                count += 1
                if (module, line) not in good:
                    found.append(f"{module}: {function} is scalar (line {line} of its C)")
                elif (module, line) in doubled:
                    found.append(f"{module}: {function} has two versions (line {line} of its C)")
            for library in (copy / "built").rglob(f"{module}.*"):
                listing = subprocess.run(["objdump", "-d", library], capture_output=True, text=True, check=True).stdout
                found += [f"{module}: {name}, a fused multiply-add" for name in sorted(set(FUSED.findall(listing)))]
    return found, count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT, help="the folder with setup.py")
    parser.add_argument("--compiler", choices=COMPILERS, help="default: each that is here")
    arguments = parser.parse_args()
    chosen = [arguments.compiler] if arguments.compiler else [name for name in COMPILERS if shutil.which(name)]
    if not chosen:
        sys.exit(f"none of these compilers is here: {', '.join(COMPILERS)}")
    bad = False
    for compiler in chosen:
        found, count = faults(arguments.source, compiler)
        bad = bad or bool(found) or not count
        print(f"{compiler}: {count} loops, faults: {len(found)}", *found, sep="\n  ")
    sys.exit(bad)


if __name__ == "__main__":
    main()
