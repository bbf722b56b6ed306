"""Checkpoints: an optimizer in one file, taken over whole or not at all."""

import json

import numpy as np
import own_rules
import pytest
from cases import CASES
from helpers import (
    ALL_STAGES,
    assert_same_bits,
    assert_same_optimizer,
    assert_unchanged,
    run,
    snapshot,
)

import fastopt
from fastopt import archive


def parameters(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "W": np.asfortranarray(rng.normal(size=(3, 4))),
        "b": rng.normal(size=5).astype(np.float32),
        "none": np.zeros((0, 2)),
        "": np.array(1.5),
    }


def two_groups(arrays):
    (a, b), (c, d) = list(arrays.items())[:2], list(arrays.items())[2:]
    return [{"params": dict([a, b])}, {"params": dict([c, d]), "weight_decay": 0.25}]


def adam(arrays, **options):
    return fastopt.Adam(two_groups(arrays), **{"lr": 0.1, "ema_decay": 0.9, **options})


@pytest.fixture
def saved(tmp_path, backend):
    """An optimizer after three steps, and the file that it was saved to."""
    opt = adam(parameters(), backend=backend)
    run(opt, np.random.default_rng(2), 3)
    opt.save(tmp_path / "file")
    return opt, tmp_path / "file"


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_uninterrupted(name, backend, tmp_path):
    rule, options = CASES[name]
    uninterrupted = rule(two_groups(parameters()), **options, backend=backend)
    stopped = rule(two_groups(parameters()), **options, backend=backend)
    gradients, same_gradients = np.random.default_rng(2), np.random.default_rng(2)
    run(uninterrupted, gradients, 7)
    run(stopped, same_gradients, 3)
    stopped.save(tmp_path / "file")
    arrays = parameters(9)
    lr = options.get("lr")  # a function is not in the file
    resumed = rule(two_groups(arrays), **{**options, "lr": lr if callable(lr) else 123.0}, backend=backend)
    states = [{key: x for key, x in one.items() if isinstance(x, np.ndarray)} for one in resumed.state]
    assert resumed.load(tmp_path / "file") == ((), ())
    run(resumed, same_gradients, 4)
    assert_same_optimizer(resumed, uninterrupted)
    # In place: what the caller holds is the optimizer's still.
    for held, array in zip(states, resumed.state, strict=True):
        for key, x in held.items():
            assert np.shares_memory(x, array[key]) or not x.size
            assert_same_bits(x, array[key])
    members = [p for group in resumed.param_groups for p in group["params"]]
    assert all(p is q for p, q in zip(arrays.values(), members, strict=True))


@pytest.mark.parametrize("rule", own_rules.RULES)
def test_own_rules(rule, tmp_path):
    """With numbers that are carried, and all stages."""
    opts = [rule(parameters(seed), backend="numpy", **ALL_STAGES) for seed in (1, 2)]
    run(opts[0], np.random.default_rng(2), 3)
    opts[0].save(tmp_path / "file")
    opts[1].load(tmp_path / "file")
    assert_same_optimizer(*opts)
    for opt in opts:
        run(opt, np.random.default_rng(3), 3)
    assert_same_optimizer(*opts)


def test_numpy_opens_it(saved):
    opt, path = saved
    with np.load(path, allow_pickle=False) as file:
        assert_same_bits(file["parameters/0"], opt.param_groups[0]["params"][0])
        assert_same_bits(file["state/1/0"], opt.state[1]["exp_avg"])
        header = json.loads(file["fastopt.json"])
    assert header["rule"] == "Adam"
    assert header["state_dict"]["state"][1]["exp_avg"] == {"array": "state/1/0"}
    assert header["state_dict"]["param_groups"][1]["param_names"] == ["none", ""]


def test_same_optimizer_same_bytes(saved, tmp_path):
    opt, path = saved
    opt.save(tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_without_parameters(backend, tmp_path):
    opt = adam(parameters(), backend=backend)
    run(opt, np.random.default_rng(2), 3)
    opt.save(tmp_path / "file", parameters=False)
    arrays = parameters(9)
    other = adam(arrays, backend=backend)
    other.load(tmp_path / "file")
    for mine, theirs in zip(other.state, opt.state, strict=True):
        assert_same_bits(mine["exp_avg"], theirs["exp_avg"])
    for p, q in zip(arrays.values(), parameters(9).values(), strict=True):
        assert_same_bits(p, q)


def test_functions_stay_in_place(tmp_path, backend):
    """They are not in the file; what the loading optimizer has is kept, be it a function or a number."""
    opt = adam(parameters(), lr=lambda n: 0.1 / (n + 1), backend=backend)
    run(opt, np.random.default_rng(2), 3)
    opt.save(tmp_path / "file")
    with np.load(tmp_path / "file") as file:
        left_out = json.loads(file["fastopt.json"])["state_dict"]["param_groups"][0]["lr"]
    assert "<lambda>" in left_out["left_out"]
    rate = lambda n: 0.2  # noqa: E731
    for lr in (rate, 0.3):
        other = adam(parameters(9), lr=lr, backend=backend)
        other.load(tmp_path / "file")
        assert other.lr is lr or other.lr == lr
        assert other.state[0]["step"] == 3


def test_other_order_in_memory(saved, backend):
    opt, path = saved
    arrays = parameters(9)
    arrays["W"] = np.ascontiguousarray(arrays["W"])
    other = adam(arrays, backend=backend)
    other.load(path)
    assert_same_optimizer(other, opt)


@pytest.mark.parametrize("name", ["../../x", "a\0b", "\ud800", "state/0/0", "fastopt.json", 'he said: "no"', "ключ"])
def test_any_name(name, backend, tmp_path):
    opts = [fastopt.SGD({name: np.full(2, x), "other": np.ones(1)}, momentum=0.5, backend=backend) for x in (1.0, 2.0)]
    run(opts[0], np.random.default_rng(2), 2)
    opts[0].save(tmp_path / "file")
    opts[1].load(tmp_path / "file")
    assert_same_optimizer(*opts)
    assert opts[1].load(tmp_path / "file", strict=False) == ((), ())


def test_by_name(saved, backend):
    """In any order and with others beside; what surrounds them stays as it is."""
    opt, path = saved
    rest = {"b": np.zeros(5, np.float32), "new": np.ones(2), "W": np.zeros((3, 4))}
    other = fastopt.Adam(rest, lr=0.7, ema_decay=0.5, backend=backend)
    assert other.load(path, strict=False) == (("new",), ("none", ""))
    assert_same_bits(rest["W"], np.ascontiguousarray(opt.param_groups[0]["params"][0]))
    assert_same_bits(rest["b"], opt.param_groups[0]["params"][1])
    assert_same_bits(rest["new"], np.ones(2))
    assert [one["step"] for one in other.state] == [3, 0, 3]
    assert_same_bits(other.state[0]["exp_avg"], opt.state[1]["exp_avg"])
    assert (other.lr, other.ema_decay, other.state_dict()["updates"]) == (0.7, 0.5, 0)


def test_by_name_needs_names(saved, tmp_path, backend):
    opt, path = saved
    nameless = fastopt.Adam(list(parameters(9).values()), ema_decay=0.9, backend=backend)
    with pytest.raises(ValueError, match="the optimizer's parameters have none"):
        nameless.load(path, strict=False)
    nameless.save(tmp_path / "nameless")
    with pytest.raises(ValueError, match="the file's parameters have none"):
        opt.load(tmp_path / "nameless", strict=False)


BAD = {
    "another rule": (lambda p, **o: fastopt.AdamW(two_groups(p), ema_decay=0.9, **o), "saved by Adam, and this is"),
    "another state": (lambda p, **o: fastopt.Adan(two_groups(p), ema_decay=0.9, **o), "saved by Adam, and this is"),
    "other options": (lambda p, **o: adam(p, amsgrad=True, **o), "other state arrays"),
    "without averages": (lambda p, **o: adam(p, ema_decay=None, **o), "other state arrays"),
    "one group": (lambda p, **o: fastopt.Adam(p, ema_decay=0.9, **o), "expected 1 group, found 2"),
    "a shape": (lambda p, **o: adam({**p, "W": np.ones((4, 3))}, **o), r"expected shape \(4, 3\), found \(3, 4\)"),
    "a dtype": (lambda p, **o: adam({**p, "b": np.ones(5)}, **o), "expected float64, found float32"),
    "a name": (lambda p, **o: adam(dict(zip(["V", "b", "none", ""], p.values(), strict=True)), **o), "expected 'V'"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("strict", [True, False])
def test_of_another_optimizer(what, strict, saved, backend):
    _, path = saved
    make, message = BAD[what]
    other = make(parameters(9), backend=backend)
    before = snapshot(other)
    if not strict:
        # By names options do not matter, but the arrays of the states do.
        message = {"another state": "is missing", "other options": "is missing"}.get(what, message)
        message = "unknown entry" if what == "without averages" else message
        if what in ("another rule", "one group", "a name"):
            missing, unused = other.load(path, strict=False)
            assert (missing, unused) == ((("V",), ("W",)) if what == "a name" else ((), ()))
            assert_same_bits(other.state[1]["exp_avg"], np.load(path)["state/1/0"])
            return
    with pytest.raises((TypeError, ValueError), match=message):
        other.load(path, strict=strict)
    assert_unchanged(other, before)


def test_changed_parameters(saved):
    opt, path = saved
    b = opt.param_groups[0]["params"][1]
    b.flags.writeable = False
    opt.save(path)
    with pytest.raises(ValueError, match="parameter 'b': the array is read-only"):
        opt.load(path)
    b.flags.writeable = True
    b.resize((5, 1), refcheck=False)
    for refused in (opt.load, opt.save):
        with pytest.raises(ValueError, match="parameter 'b': its shape was"):
            refused(path)


def test_by_name_of_an_accumulation(tmp_path, backend):
    opts = [fastopt.SGD({"p": np.ones(2)}, accumulate=2, backend=backend) for _ in range(2)]
    opts[0].step([np.ones(2)])
    opts[0].save(tmp_path / "file")
    with pytest.raises(ValueError, match="in the middle of an accumulation"):
        opts[1].load(tmp_path / "file", strict=False)
    opts[1].load(tmp_path / "file")
    for opt in opts:
        opt.step([np.ones(2)])
    assert_same_optimizer(*opts)


@pytest.mark.parametrize("what", ["rule", "parameters", "state_dict", "format"])
def test_forged(what, opt, tmp_path, monkeypatch):
    """With a right hash: it is refused all the same."""
    dumps = json.dumps
    for value in (None, 3, [], {}, "x"):
        monkeypatch.setattr(archive.json, "dumps", lambda header, value=value: dumps({**header, what: value}))
        opt.save(tmp_path / "file")
        monkeypatch.undo()
        if (what, value) == ("parameters", None):
            opt.load(tmp_path / "file")
            continue
        before = snapshot(opt)
        with pytest.raises((TypeError, ValueError), match="file"):
            opt.load(tmp_path / "file")
        assert_unchanged(opt, before)


def test_newer_version(opt, tmp_path, monkeypatch):
    monkeypatch.setattr("fastopt.checkpoint.VERSION", 2)
    opt.save(tmp_path / "file")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="this fastopt reads 'fastopt checkpoint' 1, found 'fastopt checkpoint' 2"):
        opt.load(tmp_path / "file")


def test_other_byte_order(saved, monkeypatch):
    """As a machine with the other one would have written it."""
    opt, path = saved
    plain = archive.flat
    monkeypatch.setattr(archive, "flat", lambda x: plain(x).astype(x.dtype.newbyteorder()))
    monkeypatch.setattr(
        archive.npy, "header_data_from_array_1_0", lambda x: {**HEADER_OF(x), "descr": x.dtype.newbyteorder().str}
    )
    opt.save(path)
    monkeypatch.undo()
    other = adam(parameters(9), backend=opt.backend)
    other.load(path)
    assert_same_optimizer(other, opt)


HEADER_OF = archive.npy.header_data_from_array_1_0
