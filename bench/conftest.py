"""Shows GB/s and the speedups over both baselines beside the times that pytest-benchmark measures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytest_terminal_summary(terminalreporter, config):
    benchmarks = [bench for bench in config._benchmarksession.benchmarks if "how" in bench.extra_info]
    if not benchmarks:
        return
    terminalreporter.section("steps: medians")
    columns = ("GB/s", "x plain", "x careful")
    header = f"{'rule, dtype, size':<48}{'':<10}{'us':>12}" + "".join(f"{name:>11}" for name in columns)
    terminalreporter.write_line(header)
    for bench in benchmarks:
        figures = "".join(f"{bench.extra_info[name]:>11.2f}" for name in columns)
        how = bench.extra_info["how"]
        terminalreporter.write_line(f"{bench.group:<48}{how:<10}{bench.stats.median * 1e6:>12.2f}{figures}")
