"""State dicts that are refused: an error says where and why, and nothing changed afterwards."""

import copy

import numpy as np
import pytest
from helpers import assert_unchanged, snapshot


def change(path, value):
    def apply(d):
        *way, last = path
        for key in way:
            d = d[key]
        d[last] = value

    return apply


def remove(*path):
    def apply(d):
        *way, last = path
        for key in way:
            d = d[key]
        del d[last]

    return apply


STATE_DICTS = [
    (remove("state"), ValueError, "state_dict: 'state' is missing"),
    (remove("version"), ValueError, "state_dict: 'version' is missing"),
    (change(["version"], True), ValueError, r"state_dict\['version'\]: .* found True"),
    (change(["version"], 2), ValueError, r"state_dict\['version'\]: this fastopt reads version 1, found 2"),
    (change(["updates"], -1), ValueError, r"state_dict\['updates'\]: -1 was given"),
    (change(["updates"], None), TypeError, r"state_dict\['updates'\]: expected an int, found NoneType"),
    (change(["extra"], 1), ValueError, "state_dict: unknown entry 'extra'"),
    (change(["state"], []), TypeError, r"state_dict\['state'\]: expected a dict, found list"),
    (remove("state", 1), ValueError, r"state_dict\['state'\]: 1 is missing"),
    (change(["state", 7], {}), ValueError, r"state_dict\['state'\]: unknown entry 7"),
    (change(["state", 1], None), TypeError, r"parameter 'b': expected a dict, found NoneType"),
    (remove("state", 1, "step"), ValueError, "parameter 'b': 'step' is missing"),
    (remove("state", 1, "exp_avg"), ValueError, "parameter 'b': 'exp_avg' is missing"),
    (change(["state", 1, "exp_av"], 1), ValueError, "unknown entry 'exp_av'; did you mean 'exp_avg'"),
    (change(["state", 1, "step"], -1), ValueError, "'step': -1 was given"),
    (change(["state", 1, "step"], 1.0), TypeError, "'step': expected an int, found float"),
    (change(["state", 1, "step"], 2**63), ValueError, "'step': 9223372036854775808 was given"),
    (change(["state", 2, "exp_avg"], np.zeros(6)), ValueError, r"'exp_avg': expected shape \(2, 3\), found \(6,\)"),
    (change(["state", 2, "exp_avg"], np.zeros((2, 2))), ValueError, r"'exp_avg': .* found \(2, 2\)"),
    (change(["state", 2, "exp_avg"], np.zeros((2, 3), np.float32)), TypeError, "'exp_avg': expected float64, found"),
    (
        change(["state", 2, "exp_avg"], np.zeros((2, 3), ">f8")),
        TypeError,
        "expected float64, found byte-swapped",
    ),
    (change(["state", 2, "exp_avg"], [[0.0] * 3] * 2), TypeError, "'exp_avg': expected a NumPy array, found list"),
    (change(["state", 2, "exp_avg"], np.ma.zeros((2, 3))), TypeError, "'exp_avg': a masked array's mask would be lost"),
    (change(["param_groups"], {}), TypeError, r"state_dict\['param_groups'\]: expected a list, found dict"),
    (change(["param_groups"], []), ValueError, r"state_dict\['param_groups'\]: expected 1 group, found 0; make the"),
    (remove("param_groups", 0, "lr"), ValueError, "'lr' is missing"),
    (change(["param_groups", 0, "momentum"], 0.9), ValueError, "unknown entry 'momentum'"),
    (change(["param_groups", 0, "lr"], -1.0), ValueError, "lr: -1.0 was given"),
    (change(["param_groups", 0, "amsgrad"], True), ValueError, "need other state arrays .*, not .*; make the opt"),
    (change(["param_groups", 0, "params"], [0, 1]), ValueError, "expected 3 parameters, found 2; make the"),
    (change(["param_groups", 0, "params"], [0, 1, 1]), ValueError, "1 stands for more than one parameter"),
    (change(["param_groups", 0, "params"], [0, 1, []]), TypeError, "expected the integers"),
    (change(["param_groups", 0, "params"], [False, True, 2]), TypeError, "expected the integers"),
    (
        change(["param_groups", 0, "param_names"], ["W", "b", "c"]),
        ValueError,
        r"\['param_names'\]: expected 'last', found 'c'",
    ),
    (change(["param_groups", 0, "param_names"], 7), TypeError, r"\['param_names'\]: expected a list, found int"),
]


@pytest.mark.parametrize(("spoil", "error", "message"), STATE_DICTS)
def test_state_dicts(spoil, error, message, opt):
    state_dict = copy.deepcopy(opt.state_dict())
    state_dict["param_groups"][0]["lr"] = 0.5
    state_dict["state"][0]["exp_avg"] += 1
    spoil(state_dict)
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.load_state_dict(state_dict)
    assert_unchanged(opt, before)


def test_state_dict_of_another_kind(opt):
    before = snapshot(opt)
    with pytest.raises(TypeError, match="state_dict: expected a dict, found NoneType"):
        opt.load_state_dict(None)
    assert_unchanged(opt, before)
