"""The files of checkpoints: whole or not at all, and refused if a single byte of them is wrong."""

import os
import threading

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer, assert_unchanged, python, snapshot

import fastopt
from fastopt import archive
from fastopt.replacing import replacing


@pytest.fixture
def saved(opt, tmp_path):
    """An optimizer, and the file that it was saved to."""
    opt.save(tmp_path / "file")
    return opt, tmp_path / "file"


def test_every_flip_and_truncation_is_refused(tmp_path):
    """Of a small file: nothing has changed then, and the message says that the file is damaged."""
    opt = fastopt.SGD({"p": np.array([1.0, 2.0], dtype=np.float32)}, momentum=0.5)
    opt.step([np.ones(2, dtype=np.float32)])
    opt.save(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    other = fastopt.SGD({"p": np.array([3.0, 4.0], dtype=np.float32)}, momentum=0.5)
    before = snapshot(other)
    damaged = tmp_path / "damaged"
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        wrong = bytearray(whole)
        wrong[place] ^= int(rng.integers(1, 256))
        for content in (wrong, whole[:place]):
            damaged.write_bytes(content)
            with pytest.raises(archive.Damaged, match="it is damaged"):
                other.load(damaged)
    for more in (b"\0", whole):
        damaged.write_bytes(whole + more)
        with pytest.raises(archive.Damaged, match="it is damaged"):
            other.load(damaged)
    assert_unchanged(other, before)
    other.load(tmp_path / "file")
    assert_same_optimizer(other, opt)


def test_large_file(tmp_path):
    """Of several pieces, summed by threads: a flip in each is found."""
    arrays = [np.arange(1_500_000.0), np.arange(1_100_000.0), np.arange(3.0)]
    opt = fastopt.SGD(arrays)
    for threads in (1, 3):
        with fastopt.num_threads(threads):
            opt.save(tmp_path / str(threads))
    whole = (tmp_path / "1").read_bytes()
    assert whole == (tmp_path / "3").read_bytes()
    for place in range(0, len(whole), 5_000_000):
        wrong = bytearray(whole)
        wrong[place] ^= 1
        (tmp_path / "damaged").write_bytes(wrong)
        with pytest.raises(archive.Damaged):
            opt.load(tmp_path / "damaged")
    arrays[0][:] = 0
    opt.load(tmp_path / "1")
    assert_same_bits(arrays[0], np.arange(1_500_000.0))


def test_any_size(tmp_path, monkeypatch):
    """Also one that is a multiple of the pieces that are hashed."""
    monkeypatch.setattr(archive, "_PIECE", 64)
    sizes = set()
    for n in range(64):
        archive.write(str(tmp_path / "file"), {"name": "x" * n}, [("a", np.arange(3.0))], 1)
        sizes.add((tmp_path / "file").stat().st_size % 64)
        with archive.Reader(str(tmp_path / "file"), 1) as reader:
            assert reader.read().size == (tmp_path / "file").stat().st_size
    assert sizes == set(range(64))


def test_written_to_while_it_is_saved(tmp_path):
    """The file can be loaded all the same: it has what the array held at some moment."""
    p = np.zeros(1_000_000)
    opt = fastopt.SGD(p)
    stopped = threading.Event()

    def write():
        while not stopped.is_set():
            np.add(p, 1, out=p)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(5):
        opt.save(tmp_path / "file")
        fastopt.SGD(np.zeros_like(p)).load(tmp_path / "file")
    stopped.set()
    thread.join()


def test_not_a_checkpoint(opt, tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    (tmp_path / "empty").touch()
    for name in ("other.npz", "empty"):
        with pytest.raises(ValueError, match="or was not written by `save`"):
            opt.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        opt.load(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        opt.save(tmp_path / "missing" / "file")
    for path in (tmp_path, os.devnull):
        for refused in (opt.save, opt.load):
            with pytest.raises(OSError, match="it is no regular file"):
                refused(path)


def test_failed_save_leaves_the_old_file(saved, monkeypatch):
    opt, path = saved
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        opt.save(path)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    opt.step([None, None, None])


KILLED = """
import os, signal, sys
import numpy as np
import fastopt
opt = fastopt.SGD(np.ones(10))
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
opt.save(sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no such signal")
def test_leftovers_of_the_dead_are_removed(saved):
    opt, path = saved
    python(KILLED, str(path))
    (partial,) = path.parent.glob(".*.fastopt-partial")
    with replacing(str(path)) as living:
        opt.save(path.with_name("other"))
        assert not partial.exists()
        (partial,) = path.parent.glob(".*.fastopt-partial")
        living.write(b"new")
    assert path.read_bytes() == b"new"
    assert sorted(one.name for one in path.parent.iterdir()) == ["file", "other"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has neither")
def test_links_and_modes(opt, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    seen = []
    with replacing(str(tmp_path / "file")) as partial:
        seen.append(os.fstat(partial.fileno()).st_mode & 0o777)
    assert seen == [0o640]  # from the beginning
    opt.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    opt.load(tmp_path / "file")


def test_saves_at_the_same_time(tmp_path):
    """Of several optimizers to one path: each is whole, and one of them stays."""
    opts = [fastopt.SGD(np.full(200_000, float(k))) for k in range(4)]

    def save(opt):
        for _ in range(20):
            opt.save(tmp_path / "file")

    threads = [threading.Thread(target=save, args=(opt,)) for opt in opts]
    for thread in threads:
        thread.start()
    loaded = fastopt.SGD(np.zeros(200_000))
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "file").exists():
            loaded.load(tmp_path / "file")
            p = loaded.param_groups[0]["params"][0]
            assert (p == p[0]).all()
    for thread in threads:
        thread.join()
    loaded.load(tmp_path / "file")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_without_threads_at_the_end_of_python(tmp_path):
    """When Python ends there can be no new threads."""
    code = """
import atexit, sys
import numpy as np
import fastopt
fastopt.set_num_threads(3)
opt = fastopt.SGD(np.arange(3_000_000.0))
atexit.register(opt.save, sys.argv[1])
"""
    done = python(code, str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    p = np.zeros(3_000_000)
    fastopt.SGD(p).load(tmp_path / "file")
    assert_same_bits(p, np.arange(3_000_000.0))
