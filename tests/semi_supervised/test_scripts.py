"""The entry scripts as a user starts them: on a small CamVid look-alike, and on bad input."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from core import result
from core.report import write_report
from core.result import Metrics, Result, read
from semi_supervised import manifest
from semi_supervised.table import table

SCRIPT = "semi_supervised/train_u2pl_hl.py"
ALL = "semi_supervised/run_all.py"
NET = "semi_supervised/configs/deeplabv3plus_lite0.py"


@pytest.mark.slow
def test_three_rows_one_table_and_an_export(call, jobs_here, camvid, tmp_path, refused):
    """The teacher goes on to the plain test script."""
    data = ("--data", "camvid", "--data-root", camvid)
    further = "--split-order balanced --cfg-options train_cfg.val_interval=2"
    arguments = (*data, "--splits", "1/2", "--max-iters", 2, "--seeds", 0, "--out", tmp_path,
                 "--train-args", further)  # fmt: skip
    code, out, err = call(ALL, *arguments)
    assert code == 0, err
    assert re.search(r"1/2 balanced: 3 of 6 images labeled +\| SupOnly +\| +1 \|", out)
    assert "\n1/2 balanced hl alpha=auto seed 0: 2/2" in err, err
    for arm in ("U²PL", r"U²PL \+ HL, alpha=auto"):
        assert re.search(rf"\| {arm} +\| +1 \|", out), out
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["arm"] for row in rows] == ["sup-only", "baseline", "hl alpha=auto"]
    page = (tmp_path / "index.html").read_text()
    assert "U²PL + HL" in page and "://" not in re.sub(r"http://www.w3.org\S*", "", page)

    work_dir = tmp_path / "1_2_balanced" / "hl-alpha=auto-seed0"
    assert len((work_dir / "labeled.txt").read_text().split()) == 3
    assert len((work_dir / "unlabeled.txt").read_text().split()) == 3
    code, out, err = call("core/export.py", work_dir / "iter_2.pth", tmp_path / "plain.pth")
    assert code == 0, err
    code, out, err = call("fully_supervised/test.py", NET, tmp_path / "plain.pth", *data,
                            "--work-dir", tmp_path / "test")  # fmt: skip
    assert code == 0, err
    assert float(re.search(r"mIoU +([\d.]+)", out)[1]) == pytest.approx(
        100 * float(rows[2]["mIoU"]), abs=0.006
    )
    again = (*data, "--split", "1/2", "--work-dir", work_dir)
    assert "go on with --resume" in refused(call(SCRIPT, *again, "--split-order", "balanced"))
    assert f"{work_dir}: its run used other labeled images" in refused(
        call(SCRIPT, *again, "--split-seed", 5, "--resume")
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --split 1/8, or both --labeled-list and --unlabeled-list"),
        (["--split", "1/8", "--labeled-list", "x.txt"], "give --split 1/8, or both"),
        (["--split", "12.5%"], "fraction '12.5%': give 1/N"),
        (["--split", "1/3"], "2 labeled images, but a batch takes 4: choose a larger part"),
        (["--split", "1/2", "--set", "trainer.epoch=2"], "unknown key trainer.epoch; did you mean"),
        (["--split", "1/2", "--set", "hl.c=0"], "c must be > 0"),
        (
            ["--split", "1/2", "--set", "hl.weighting=ce_scaled"],
            "hl.weighting must be one of hl, ce-scaled; got 'ce_scaled'",
        ),
        (
            ["--split", "1/2", "--set", "dataset.type=streets"],
            "--data is camvid, but the settings say dataset.type=streets: leave one of the two out",
        ),
        (
            ["--split", "1/2", "--set", "trainer.contrastive.low_rank=11"],
            "low_rank is 11, but it must be less than",
        ),
        (
            ["--labeled-list", "LISTS/a.txt", "--unlabeled-list", "LISTS/b.txt"],
            r"a.txt, line 1: images/train/9.jpg is not on disk",
        ),
        (["--labeled-list", "LISTS/c.txt", "--unlabeled-list", "LISTS/c.txt"], "listed already"),
        (["--split", "1/2", "--config", "none.yaml"], "none.yaml: no such settings file"),
        (["--split", "1/2", "--cfg-options", "model.hl.c=0.5"], "model.hl.c is not of this"),
        (["--split", "1/2", "--weighting", "ohem"], "U²PL's own loss of the labeled images"),
        (["--split", "1/2", "--sup-only", "--hl"], "ask for hl and for sup-only: give one"),
    ],
)
def test_bad_input_is_one_line(arguments, words, camvid, call, refused, tmp_path):
    lists = dict(a="images/train/9.jpg", b="images/train/1.jpg", c="images/train/2.jpg")
    for name, line in lists.items():
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    arguments = [argument.replace("LISTS", str(tmp_path)) for argument in arguments]
    batch = [] if "1/2" in arguments else ["--set", "dataset.batch_size=4"]
    done = call(SCRIPT, "--data", "camvid", "--data-root", camvid, "--work-dir", tmp_path / "w",
                *batch, *arguments)  # fmt: skip
    assert re.search(words, refused(done))


@pytest.mark.slow
def test_one_real_process_from_start_to_table(command, camvid, tmp_path, root):
    """What python starts, with the table of the rows that are there at its end."""
    process = command(str(root / SCRIPT), "--data", "camvid", "--data-root", camvid, "--split",
                      "1/2", "--sup-only", "--max-iters", 2, "--cfg-options",
                      "train_cfg.val_interval=9", cwd=tmp_path)  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "1/2 sup-only seed 0: mIoU" in out and "| SupOnly" in out
    assert (tmp_path / "work_dirs/semi_supervised/camvid/index.html").is_file()


@pytest.mark.slow
def test_published_lists_and_an_unlabeled_image_without_label(call, camvid, tmp_path):
    """What the lists name is trained on; labels of unlabeled images are not asked for."""
    folder = tmp_path / "data"
    shutil.copytree(camvid, folder)
    for i in (3, 4):
        (folder / f"labels/train/{i}.png").unlink()
    for name, numbers in (("labeled", (0, 1)), ("unlabeled", (3, 4))):
        lines = "".join(f"images/train/{i}.jpg\n" for i in numbers)
        (tmp_path / f"{name}.txt").write_text(lines)
    code, out, err = call(
        SCRIPT, "--data", "camvid", "--data-root", folder, "--max-iters", 2, "--no-hl",
        "--labeled-list", tmp_path / "labeled.txt", "--unlabeled-list",
        tmp_path / "unlabeled.txt", "--work-dir", tmp_path / "work")  # fmt: skip
    assert code == 0, err
    assert "2 of 4 baseline seed 0: mIoU" in out
    assert (tmp_path / "work" / "unlabeled.txt").read_text() == "3\n4\n"


def test_published_protocol_without_running(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GPUS", "4")
    code, out, _ = call(ALL, "--data", "cityscapes", "--dry-run", "--data-root", tmp_path,
                        "--out", "work_dirs/nowhere")  # fmt: skip
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert code == 0 and len(lines) == 12
    assert sum("--sup-only" in line for line in lines) == 4
    assert all("--nproc_per_node=4" in line and "--launcher pytorch" in line for line in lines)
    assert not any("--max-iters" in line for line in lines)
    assert "--work-dir work_dirs/nowhere/1_16/hl-seed0 " in out


def test_another_choice_of_images_has_its_own_name_and_the_published_figures(call, tmp_path):
    """1/8 alone is the default order of seed 0."""
    for arguments, folder, split in (
        ("", "1_8", "1/8"),
        ("--split-order balanced --set a=b", "1_8_balanced", "1/8 balanced"),
        ("--set a=b --split-seed=3", "1_8_seed_3", "1/8 seed 3"),
    ):
        code, out, err = call(ALL, "--data", "cityscapes", "--splits", "1/8", "--dry-run",
                              "--out", tmp_path, f"--train-args={arguments}")  # fmt: skip
        assert code == 0, err
        assert f"{tmp_path / folder / 'hl-seed0'} " in out
        run = Result("semi_supervised", "net", split, "hl", 0, metrics=Metrics(0.5, {}),
                     title=f"{split}: 372 of 2975 images labeled")  # fmt: skip
        result.write(run, tmp_path / folder / "hl-seed0")
    report = write_report(tmp_path, **table(tmp_path, "cityscapes"))
    for split in ("1/8", "1/8 balanced", "1/8 seed 3"):
        row = next(x for x in report.markdown.splitlines() if f"{split}: 372 of 2975" in x)
        assert "76.04" in row


def test_a_split_leaves_no_folder():
    assert manifest.run_dir(Path("out"), "../../1/8\0", "hl", 0) == Path("out/_1_8_/hl-seed0")


def test_a_damaged_result_is_a_note_of_the_table(tmp_path):
    """Of whatever call it is; the others are shown. A split without a name is one, too."""
    run = Result("semi_supervised", "net", "", "hl", 0, metrics=Metrics(0.5, {}))
    result.write(run, tmp_path / "1_8" / "hl-seed0")
    result.write(run, tmp_path / "1_8" / "hl-seed1")
    (tmp_path / "1_8/hl-seed1/result.json").write_text('{"format": 2, "seed": "<b>"}')
    report = write_report(tmp_path, **table(tmp_path, "cityscapes"))
    assert "50.00" in report.markdown and "1_8/hl-seed1/result.json: damaged (" in report.markdown


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["balanced", "focal", "hl c=0.5"])
def test_other_arms_train(arm, call, camvid, tmp_path):
    name, *options = arm.split()
    code, _, err = call(SCRIPT, "--data", "camvid", "--data-root", camvid, "--split", "1/2",
                        "--max-iters", 2, "--work-dir", tmp_path, "--weighting", name,
                        *(["--options", *options] if options else []),
                        "--cfg-options", "train_cfg.val_interval=9")  # fmt: skip
    assert code == 0, err
    assert read(tmp_path).arm == arm


@pytest.mark.parametrize("rank", ["0", "1"])
def test_one_machine_of_two_writes_the_report(rank, call, monkeypatch, camvid, tmp_path):
    for name, value in dict(NNODES="2", MASTER_ADDR="h", NODE_RANK=rank).items():
        monkeypatch.setenv(name, value)
    run = Result("semi_supervised", "net", "1/2", "hl", 0, title="1/2", iterations=2, asked=2,
                 metrics=Metrics(0.5, {}))  # fmt: skip
    result.write(run, tmp_path / "1_2" / "hl-seed0")
    code, out, err = call(ALL, "--data", "camvid", "--data-root", camvid, "--splits", "1/2",
                          "--arms", "hl", "--max-iters", 2, "--seeds", 0,
                          "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    assert (tmp_path / "index.html").is_file() == (rank == "0") == ("page: " in out)


def test_as_released_is_in_every_command_and_name(call, tmp_path):
    code, out, err = call(ALL, "--data", "cityscapes", "--splits", "1/8", "--dry-run",
                          "--as-released", "--out", tmp_path)  # fmt: skip
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert code == 0 and len(lines) == 3, err
    assert all("--as-released" in line and f"{tmp_path}/1_8_as_released/" in line for line in lines)
    assert "--weighting hl --options normalize=batch ignored=include" in lines[2]
    run = Result("semi_supervised", "net", "1/8 as released", "hl normalize=batch ignored=include",
                 0, metrics=Metrics(0.5, {}), title="1/8 as released: 372 of 2975")  # fmt: skip
    result.write(run, tmp_path / "1_8_as_released" / "hl")
    assert "76.04" in write_report(tmp_path, **table(tmp_path, "cityscapes")).markdown


def test_a_dry_run_says_what_is_trained(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GPUS", "4")
    flags = ("--splits", "1/8", "--arms", "hl", "--dry-run", "--out", tmp_path)
    _, out, _ = call(ALL, "--data", "cityscapes", *flags,
                     "--train-args=--set dataset.batch_size=4 trainer.epochs=3")  # fmt: skip
    assert out.splitlines()[0] == (
        "# 1/8 hl seed 0: 3 passes over the unlabeled images, batch 16 labeled and 16 unlabeled, "
        "lr 0.01; published: 16 and 16, lr 0.01; authors' hours: n/a"
    )
    _, out, _ = call(ALL, "--data", "camvid", *flags)
    assert "# 1/8 hl seed 0: 800 iterations, batch 8 labeled and 8 unlabeled, lr 0.01;" in out


@pytest.fixture
def lists(tmp_path):
    """Published lists for the look-alike: a folder for each part."""
    for name, labeled in (("4", "1234"), ("2", "12")):
        folder = tmp_path / "lists" / name
        folder.mkdir(parents=True)
        (folder / "labeled.txt").write_text("".join(f"{i}\n" for i in labeled))
        (folder / "unlabeled.txt").write_text("".join(f"{i}\n" for i in "3456"))
    (tmp_path / "lists" / "val.txt").write_text("1\n")
    return tmp_path / "lists"


def test_published_lists_are_planned_and_read(lists, call, camvid, tmp_path, refused):
    """The smaller part first; each by its lists; one that is not there is refused."""
    plan = (ALL, "--data", "camvid", "--data-root", camvid, "--lists", lists, "--arms", "hl",
            "--seeds", 0, "--dry-run", "--out", tmp_path / "out")  # fmt: skip
    code, out, err = call(*plan)
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert code == 0 and len(lines) == 2, err
    for name, line in zip("24", lines, strict=True):
        assert f"--labeled-list {lists}/{name}/labeled.txt --unlabeled-list" in line
        assert f"--split-name {name} " in line and "--split " not in line
        assert f"--work-dir {tmp_path}/out/{name}/hl-seed0 " in line
    assert "--splits 3: no such folder" in refused(call(*plan, "--splits", 3))
    lost = (*plan[:-3], "--lists", tmp_path, "--out", tmp_path / "out")
    assert "holds labeled.txt and unlabeled.txt" in refused(call(*lost))
    both = ("--data", "camvid", "--data-root", camvid, "--work-dir", tmp_path / "w",
            "--labeled-list", lists / "2/labeled.txt",
            "--unlabeled-list", lists / "2/unlabeled.txt")  # fmt: skip
    assert "are of --split: the lists say which" in refused(call(SCRIPT, *both, "--split-seed", 1))
    assert "leave it out" in refused(call(SCRIPT, *both[:4], "--split", "1/2", "--split-name", "x"))


def test_figures_of_table_10_are_of_its_lists_and_others_are_told(tmp_path):
    published = manifest.read()["lists"]
    assert published.keys() == manifest.read()["published"].keys()
    assert manifest.published_split(["a", "b"]) is None
    accidents = dict(as_released=["shifted_class_list"])
    for split, facts in (("186", dict(published_split="1/16") | accidents),
                         ("1/16", dict(published_split=None)), ("9 of 2975", {})):  # fmt: skip
        run = Result("semi_supervised", "net", split, "hl", 0, metrics=Metrics(0.5, {}),
                     title=split, facts=facts)  # fmt: skip
        result.write(run, tmp_path / split.replace("/", "_") / "hl")
    report = write_report(tmp_path, **table(tmp_path, "cityscapes")).markdown
    lines = [line for line in report.splitlines() if line.startswith("|") and "+ HL" in line]
    rows = {line.split("|")[1].strip(): line for line in lines}
    assert "72.62" in rows["186"] and "72.62" in rows["1/16"] and "72.62" not in rows["9 of 2975"]
    assert "1/16: the published figures are of U²PL's own lists" in report
    assert "186: the published" not in report
    assert "186: with the accidents of the released code: shifted_class_list." in report
