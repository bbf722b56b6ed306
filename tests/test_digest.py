"""All bits of all rules, in one number that is committed: other machines must come to the same."""

from pathlib import Path

from digest import digest


def test_digest(backend):
    """When formulas or cases were changed on purpose, digest.txt gets the number that python tests/digest.py prints."""
    assert digest(backend) == (Path(__file__).parent / "digest.txt").read_text().strip()
