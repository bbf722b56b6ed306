"""How many threads a step may use: what is asked for, and by default a fair share of the machine."""

import os

import pytest
from helpers import python

import fastopt
from fastopt.engines import threads


def test_num_threads():
    before = fastopt.get_num_threads()
    assert before >= 1
    with fastopt.num_threads(3):
        assert fastopt.get_num_threads() == 3
        fastopt.set_num_threads(2)
        assert fastopt.get_num_threads() == 2
    assert fastopt.get_num_threads() == before
    with pytest.raises(KeyError), fastopt.num_threads(5):
        raise KeyError
    assert fastopt.get_num_threads() == before


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (2**31, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_bad_num_threads(n, error):
    before = fastopt.get_num_threads()
    with pytest.raises(error, match=r"^n: "):
        fastopt.set_num_threads(n)
    with pytest.raises(error, match=r"^n: "), fastopt.num_threads(n):
        pass
    assert fastopt.get_num_threads() == before


def test_number_from_the_environment():
    code = "import fastopt; print(fastopt.get_num_threads())"
    assert python(code, FASTOPT_NUM_THREADS="5").stdout == "5\n"
    for bad in ("0", "many", "2.5"):
        done = python(code, FASTOPT_NUM_THREADS=bad)
        assert f"FASTOPT_NUM_THREADS: expected a positive integer, found {bad!r}" in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a process choose its processors")
def test_number_respects_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); import fastopt; print(fastopt.get_num_threads())"
    assert python(code, FASTOPT_NUM_THREADS="").stdout == "1\n"


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, [1.5]),
        ("0::/\n", {"cpu.max": "50000 100000"}, [0.5]),
        ("0::/\n", {}, []),
        ("0::/../x\n", {"cpu.max": "300000 100000"}, [3.0]),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"}, [2.0]),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("4:memory:/\n", {}, []),
        ("0::/a\n", {"a/cpu.max": "max 100000", "a/cpuset.cpus.effective": "0-3,8\n"}, [5]),
        ("0::/a\n", {"a/cpuset.cpus.effective": "\n", "cpuset.cpus.effective": "2\n"}, [1]),
    ],
)
def test_limits(membership, files, limits, tmp_path):
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert list(threads.limits(tmp_path / "cgroup", tmp_path / "self")) == limits


def on_machine(monkeypatch, processors, bound=None, limits=()):
    """A machine with so many processors, of which the process is bound to some."""
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(bound or processors), raising=False)
    monkeypatch.setattr(threads, "limits", lambda: iter(limits))


@pytest.mark.parametrize(("limits", "expected"), [([], 8), ([1.5, 4.0], 2), ([0.2], 1), ([16.0], 8)])
def test_number_respects_limits(limits, expected, monkeypatch):
    on_machine(monkeypatch, 8, limits=limits)
    assert threads.available({}) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, 2),
        ({"MPI_LOCALNRANKS": "3"}, 2),
        ({"MV2_COMM_WORLD_LOCAL_SIZE": "8"}, 1),
        ({"LOCAL_WORLD_SIZE": "2"}, 4),
        ({"MPI_LOCALNRANKS": "9"}, 1),
        ({"SLURM_STEP_TASKS_PER_NODE": "2"}, 4),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2),3"}, 2),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x16)", "MPI_LOCALNRANKS": "4"}, 2),  # Slurm has started the launcher
        ({"SLURM_NTASKS_PER_NODE": "8", "SLURM_TASKS_PER_NODE": "8"}, 8),  # a batch script, which runs once
        ({"MPI_LOCALNRANKS": "", "OMPI_COMM_WORLD_LOCAL_SIZE": "x", "SLURM_STEP_TASKS_PER_NODE": "?"}, 8),
        ({"LOCAL_WORLD_SIZE": "0"}, 8),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 3, 2"}, 3),
        ({"OMP_NUM_THREADS": "64"}, 8),
        ({"OMP_NUM_THREADS": "0"}, 8),
        ({"OMP_NUM_THREADS": "many"}, 8),
        ({"OMP_NUM_THREADS": "2", "LOCAL_WORLD_SIZE": "2"}, 2),
    ],
)
def test_number_beside_other_processes(environment, expected, monkeypatch):
    on_machine(monkeypatch, 8)
    assert threads.available(environment) == expected


@pytest.mark.parametrize(
    ("bound", "limits", "expected"),
    [
        (2, (), 2),  # to processors of its own, which are not divided again
        (1, (), 1),
        (8, (), 4),  # to a half of the machine, with one other
        (8, (6.0,), 1),  # in a container
    ],
)
def test_processes_that_are_bound(bound, limits, expected, monkeypatch):
    on_machine(monkeypatch, 16, bound, limits)
    assert threads.available({"MPI_LOCALNRANKS": "4"}) == expected


def test_own_number_comes_first():
    code = "import fastopt; print(fastopt.get_num_threads())"
    done = python(code, FASTOPT_NUM_THREADS="5", MPI_LOCALNRANKS="1000", OMP_NUM_THREADS="1")
    assert done.stdout == "5\n"
    assert python(code, FASTOPT_NUM_THREADS="", MPI_LOCALNRANKS="1000").stdout == "1\n"
