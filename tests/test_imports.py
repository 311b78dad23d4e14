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


def test_hardness_imports_only_torch(root):
    path = root / "core/hardness.py"
    assert third_party(path) == {"torch"}
    assert not {n for n in imports(path) if n.startswith("core")}
    # ... and so does what Python runs on the way to it.
    assert third_party(root / "core/__init__.py") == set()


def test_analysis_imports_only_arrays(root):
    for path in (root / "core/analysis").rglob("*.py"):
        assert third_party(path) <= {"numpy", "torch", "skimage"}, path
        ours = {n for n in imports(path) if n.split(".")[0] in OURS}
        assert all(n.startswith("core.analysis") for n in ours), path


def test_only_entry_scripts_import_the_report(root):
    for path in files(root):
        if path.is_relative_to(root / "tests") or path.is_relative_to(root / "core/report"):
            continue
        if any(name.startswith("core.report") for name in imports(path)):
            assert '__name__ == "__main__"' in path.read_text(), path


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
