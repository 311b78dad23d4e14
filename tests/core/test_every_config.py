"""Every config that mmseg ships, prepared in baseline and HL: only declared keys change."""

import fnmatch

import pytest

from core.arms import Arm
from core.configs import load_config, mmseg_configs
from core.convert import DECLARED as OF_HL
from core.engine.prepare import DECLARED as OF_A_RUN
from core.engine.prepare import prepare
from core.errors import CannotConvert, ConfigError
from core.weighting import with_weighting

ROOT = mmseg_configs()
NAMES = sorted(
    p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py") if "_base_" not in p.parts
)
PARTS = 6
# What cannot be read here: four configs import a package that this project does not need.
ABSENT = ("mmdet",)
# Why HL is refused: the beginning of the reason, and how many configs it holds for.
REFUSED = {
    "it computes a loss of its own": 48,
    "it has": 17,
    "sampler OHEMPixelSampler selects pixels": 8,
    "its cross-entropy is binary": 1,
    "it is not a BaseDecodeHead": 13,
    "its LayerNorm over the classes is constant": 4,
    "model.type is": 8,
}
counts: dict[str, int] = {}


def flat(node, prefix=""):
    """All leaves by dotted key, those in lists by their place."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(value, (dict, list, tuple)) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def undeclared(before, after, patterns):
    old, new = dict(flat(before.to_dict())), dict(flat(after.to_dict()))
    changed = [key for key in {*old, *new} if key not in old or key not in new
               or old[key] != new[key]]  # fmt: skip
    return [k for k in changed if not any(fnmatch.fnmatch(k, pattern) for pattern in patterns)]


def count(what):
    counts[what] = counts.get(what, 0) + 1


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_only_declared_keys_change(part):
    for name in NAMES[part::PARTS]:
        try:
            cfg = load_config(f"mmseg::{name}")
        except ConfigError as error:
            assert any(package in str(error) for package in ABSENT), (name, error)
            count("absent")
            continue
        before = cfg.to_dict()
        plain = with_weighting(cfg, Arm.parse("baseline"))
        assert undeclared(cfg, prepare(plain, work_dir="x"), OF_A_RUN) == [], name
        count("baseline")
        try:
            weighted = with_weighting(cfg, Arm.parse("hl"))
        except CannotConvert as error:
            reasons = [reason for reason in REFUSED if f": {reason}" in f": {error}"]
            assert len(reasons) == 1, (name, error)
            count(reasons[0])
            continue
        assert undeclared(cfg, weighted, OF_HL) == [], name
        assert undeclared(cfg, prepare(weighted, work_dir="x"), (*OF_HL, *OF_A_RUN)) == [], name
        assert weighted.model.hl.c == 0.1
        assert cfg.to_dict() == before, name
        count("hl")


@pytest.mark.slow
def test_they_were_all_there():
    """Nothing fell out of the test above in silence."""
    if sum(counts.get(key, 0) for key in ("absent", "baseline")) != len(NAMES):
        pytest.skip("only a part of the configs was prepared in this process")
    assert len(NAMES) == 682
    assert counts == dict(absent=4, baseline=678, hl=579, **REFUSED)
