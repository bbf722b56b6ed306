"""The demo and its picture."""

import pytest

from fastopt.__main__ import main
from fastopt.rules import VARIANTS

for needed in ("matplotlib", "sklearn"):
    pytest.importorskip(needed, reason="it comes with the extra `cli`")
demo, picture = (pytest.importorskip(f"fastopt.cli.{name}") for name in ("demo", "picture"))


def test_demo(tmp_path, capsys):
    file = tmp_path / "demo.png"
    main(["demo", "--epochs", "2", "--output", str(file)])
    assert file.read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "demo.png" not in line) <= 60
    for name in VARIANTS:
        assert [line for line in lines if line.startswith(f"{name}  ") and line.endswith(" yes")]


def test_the_picture_shows_every_rule(tmp_path):
    rows = [demo.Comparison(name, [2.0, 1.0], 0.5, 1e-6, 10.0, True) for name in VARIANTS]
    picture.draw(rows, str(tmp_path / "demo.svg"))
    drawn = (tmp_path / "demo.svg").read_text(encoding="utf-8")  # what is written stands in comments
    assert "the same bits as the reference" in drawn
    for name in VARIANTS:
        assert f"<!-- {name} -->" in drawn


@pytest.mark.parametrize("there", [False, True])
def test_looking_whether_a_picture_can_be_written_changes_nothing(there, tmp_path):
    file = tmp_path / "demo.png"
    if there:
        file.write_bytes(b"old")
    picture.check(str(file))
    assert file.exists() == there
    assert not there or file.read_bytes() == b"old"


@pytest.mark.parametrize("place", ["nowhere/demo.png", "file/demo.png", "folder.png"])
def test_a_picture_that_cannot_be_written_is_noticed_before_the_training(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "compare", None)  # it must not get so far
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SystemExit, match=r"^fastopt demo: --output: .* cannot be written \(.*\); name another file$"):
        main(["demo", "--output", str(tmp_path / place)])
    assert capsys.readouterr().out == ""


def test_a_folder_without_permission(tmp_path, monkeypatch):
    """Which root has in every folder."""

    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(SystemExit, match=r"cannot be written \(Permission denied\)"):
        main(["demo", "--output", str(tmp_path / "demo.png")])


def test_bits_that_differ_fail(tmp_path, monkeypatch, capsys):
    def differ(epochs):
        yield demo.Comparison("SGD", [1.0], 0.5, 1e-6, 2.0, False)

    monkeypatch.setattr(demo, "compare", differ)
    with pytest.raises(SystemExit, match="a defect of fastopt"):
        main(["demo", "--output", str(tmp_path / "demo.png")])
    assert " NO\n" in capsys.readouterr().out


def test_every_rule_learns():
    data = demo.digits()
    for name in VARIANTS:
        trained = demo.train(name, None, data, 3)
        assert trained.losses[-1] < trained.losses[0] / 2
        assert trained.accuracy > 0.85
