"""What ten steps of every track in every weighting give must not change unseen."""

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("golden_record", HERE / "record.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)
RECORD = json.loads(golden.RECORD.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("golden")


@pytest.mark.slow
@pytest.mark.parametrize("name", golden.RUNS)
def test_ten_steps_are_those_on_record(name, folder, one_thread):
    now = golden.train(name, folder)
    assert not golden.differences(name, now, RECORD["runs"][name])


def test_the_record_is_of_all_runs_and_tells_them_apart():
    runs = RECORD["runs"]
    assert runs.keys() == golden.RUNS.keys()
    assert len({run["weights"] for run in runs.values()}) == len(runs)
    assert all(len(run["losses"]["loss"]) == golden.STEPS for run in runs.values())


def test_a_difference_is_told():
    run = RECORD["runs"]["hl"]
    losses = {
        key: [value * (1 + 1e-2) for value in values] for key, values in run["losses"].items()
    }
    for exact in (True, False):
        lines = golden.differences("hl", dict(run, losses=losses), run, exact)
        assert len(lines) == len(losses) and "was" in lines[0]
    assert golden.differences("hl", dict(run, weights="0" * 64), run, exact=True)
