"""Kill -9 while a process saves: what is left is the old file or the new one.

A child saves one optimizer to one path in a loop, with other values each time. After each kill the path must have the
old or the new file, whole; and when all is over the next save must have removed what the dead have left.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import fastopt

CHILD = """
import sys
import numpy as np
import fastopt
path, n = sys.argv[1], int(sys.argv[2])
p = np.zeros(n)
opt = fastopt.Adam({"p": p})
opt.load(path)
print("saving", flush=True)
while True:
    p += 1
    opt.state[0]["exp_avg"][:] = p
    opt.state[0]["exp_avg_sq"][:] = p
    opt.save(path)
"""


def attack(tries: int, n: int, seed: int) -> Counter[str]:
    """Kill so many savers of n elements; how often the file was old or new, and how much was left beside it."""
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        p = np.zeros(n)
        opt = fastopt.Adam({"p": p})
        start = time.perf_counter()
        opt.save(path)
        duration = time.perf_counter() - start
        for _ in range(tries):
            before = p[0]
            child = subprocess.Popen([sys.executable, "-c", CHILD, path, str(n)], stdout=subprocess.PIPE)
            child.stdout.readline()
            time.sleep(rng.uniform(0, 4 * duration))
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
            seen["partial files left"] += sum(1 for _ in Path(folder).glob(".*"))
            try:
                opt.load(path)
            except ValueError:
                seen["torn"] += 1
                break
            whole = all((x == p[0]).all() for x in (p, opt.state[0]["exp_avg"], opt.state[0]["exp_avg_sq"]))
            seen["torn" if not whole or p[0] < before else "old" if p[0] == before else "new"] += 1
        opt.save(path)
        seen["files that no save removed"] = len(list(Path(folder).iterdir())) - 1
    return seen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000_000])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torn = 0
    for size in arguments.sizes:
        seen = attack(arguments.tries // len(arguments.sizes), size, arguments.seed)
        print(f"{size} elements: {dict(seen)}", flush=True)
        torn += seen["torn"] + seen["files that no save removed"]
    sys.exit(torn > 0)
