"""A seeded handful of every part of the drill, which is run whole by hand."""

import re

import pytest


@pytest.mark.slow
def test_a_handful_of_each_part_holds(finish):
    few = ("--kills", 1, "--inputs", 5, "--few", 1)
    code, out, err = finish("tests/drill.py", *few, "--seed", 1)
    assert code == 0, f"{out}\n{err}"
    assert "everything held" in out and re.search(r"tried +held", out)


@pytest.mark.slow
def test_every_case_has_a_name_of_its_own(finish):
    code, out, err = finish("tests/drill.py", "--list")
    assert code == 0, err
    names = [line.rstrip() for line in out.splitlines()]
    assert len(names) > 900 and len(set(names)) == len(names)
    assert sum(line.startswith("inputs: ") for line in names) > 300
