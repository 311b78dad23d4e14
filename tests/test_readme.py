"""Every command in every README is one that its script takes; every file named there exists."""

import argparse
import re
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / name for name in ("README.md", "RESULTS.md", "CONTRIBUTING.md")]
READMES += sorted(ROOT.glob("*/README.md"))
SCRIPT = re.compile(r"^(core|data|\w+_supervised|domain_gen|benchmarks|tests)/[\w/]+\.(py|sh)$")


def commands(path: Path) -> list[str]:
    """The lines of bash blocks, and commands within backticks."""
    text = path.read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.split(" #")[0].rstrip() for block in blocks for line in block.splitlines()]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += re.findall(r"`((?:[A-Z]+=\S+ )*(?:bash|python|torchrun) [^`]+)`", rest)
    return [line for line in lines if line]


FOUND = [(path.relative_to(ROOT), line) for path in READMES for line in commands(path)]


class Parsed(Exception):
    """The flags were taken."""


@pytest.fixture
def parses(monkeypatch):
    """Scripts end where their flags are read."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


def split(line: str) -> tuple[dict[str, str], str, list[str]]:
    """Environment, script and arguments of a command."""
    words = shlex.split(line)
    environment = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    if words[:3] == ["python", "-m", "core.export"]:
        words = ["python", "core/export.py", *words[3:]]
    at = next(i for i, word in enumerate(words) if SCRIPT.match(word))
    return environment, words[at], words[at + 1 :]


def test_the_readmes_have_commands():
    assert len(FOUND) > 60
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize(("readme", "line"), FOUND)
def test_a_command_is_taken(readme, line, call, parses, monkeypatch):
    if line.startswith(("source setup.sh", "tensorboard --logdir")):
        return
    environment, script, arguments = split(line)
    assert (ROOT / script).is_file()
    monkeypatch.syspath_prepend((ROOT / script).parent)  # as Python does for a script
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "torchrun" in line:
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
            monkeypatch.setenv(name, "1")
    if script == "tests/run.sh":
        return  # hands its flags on to pytest
    if script.startswith(("benchmarks", "tests", "fully_supervised/plain_torch")):
        monkeypatch.setattr("sys.argv", [script, *arguments])  # no main(argv)
        with pytest.raises(Parsed):
            runpy.run_path(str(ROOT / script), run_name="__main__")
        return
    if "--help" in arguments:
        assert call(script, *arguments)[0] == 0
        return
    with pytest.raises(Parsed):
        call(script.replace(".sh", ".py"), *arguments)


PLANS = [
    line for _, line in FOUND if "run_all.sh" in line and "--list" not in line and "…" not in line
]


@pytest.mark.parametrize("line", dict.fromkeys(PLANS))
def test_a_sweep_can_be_planned(line, call, monkeypatch, tmp_path):
    """As it stands, with --dry-run: rows, arms, sweeps, targets are known."""
    environment, script, arguments = split(line)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = script.replace(".sh", ".py")
    if "my_config.py" in arguments:
        shipped = "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py"
        mine = tmp_path / "my_config.py"
        mine.write_text(f"_base_ = {shipped!r}")
        arguments = [mine if word == mine.name else word for word in arguments]
    code, out, err = call(script, *arguments, "--dry-run", "--out", tmp_path)
    assert code == 0, err
    assert "--weighting" in out or "--sup-only" in out


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_loop_of_the_readme_runs():
    """The lines on the method, as they stand, with a head of one convolution."""
    import torch

    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(from core.hardness.*?)```", text, re.DOTALL)[1]
    backbone = torch.nn.Conv2d(3, 4, 3, stride=2)
    names = dict(
        backbone=backbone,
        head=torch.nn.Conv2d(4, 5, 1),
        SegmentationHead=lambda num_classes: torch.nn.Conv2d(4, num_classes, 1),
        image=torch.rand(2, 3, 17, 17),
        label=torch.randint(0, 5, (2, 17, 17)),
    )
    exec(code, names)
    assert backbone.weight.grad is not None and names["hl_head"].weight.grad is not None
    (hl,) = torch.autograd.grad(
        names["criterion"](
            names["head"](names["features"]).detach(),
            names["hl_head"](names["features"].detach()),
            names["label"],
        ).loss_hl,
        backbone.weight,
        allow_unused=True,
    )
    assert hl is None  # the branch reads detached features
