"""Baseline, scale-matched CE and +HL over models and seeds; ends with the table and the page.

What is finished is skipped, what was cut goes on: the same command again.

    bash fully_supervised/run_all.sh                                     # the embedded data set
    bash fully_supervised/run_all.sh --data camvid --data-root DIR
    GPUS=4 bash fully_supervised/run_all.sh --data cityscapes --data-root /data/cityscapes
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import yaml

from core.engine.cli import main_line
from core.engine.configs import ConfigError
from core.engine.run import RESULT
from core.report import write_report
from data import registry
from data.errors import DataError

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Run:
    """One training: what it is called, where it goes, how it is started."""

    data: str
    model: str
    title: str
    config: str
    arm: str
    seed: int
    max_iters: int
    work_dir: Path

    @property
    def name(self) -> str:
        return f"{self.model} {self.arm} seed {self.seed}"

    def command(self, root: str, gpus: int, extra: list[str]) -> list[str]:
        weighting = "ce" if self.arm == "baseline" else self.arm
        launch = [sys.executable]
        if gpus > 1:
            launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}"]
        script = [str(HERE / "train.py"), self.config, "--weighting", weighting,
                  "--data", self.data, "--data-root", root, "--seed", str(self.seed),
                  "--max-iters", str(self.max_iters), "--work-dir", str(self.work_dir),
                  "--resume", "--model-name", self.model, *extra]  # fmt: skip
        return launch + script + (["--launcher", "pytorch"] if gpus > 1 else [])

    def result(self) -> dict | None:
        """What the finished run left, None if it is not finished."""
        path = self.work_dir / RESULT
        if not path.is_file():
            return None
        result = json.loads(path.read_text())
        if result["max_iters"] != self.max_iters:
            raise ConfigError(
                f"{path} is of {result['max_iters']} iterations, now {self.max_iters} are asked: "
                "name another --out, or delete that folder"
            )
        return dict(result, title=self.title)


def plan(args: argparse.Namespace) -> tuple[list[Run], dict[str, dict]]:
    """The runs of a call, seed by seed, and the published figures of their models."""
    manifest = yaml.safe_load((HERE / "experiments.yaml").read_text())
    known = manifest["data"].get(args.data, {})
    models = args.models or known.get("models")
    max_iters = args.max_iters or known.get("max_iters")
    if not models or not max_iters:
        raise ConfigError(
            f"experiments.yaml has no list for {args.data!r}: give --models and --max-iters"
        )
    for model in models:
        if model not in manifest["models"]:
            names = ", ".join(manifest["models"])
            raise ConfigError(f"unknown model {model!r}; experiments.yaml has: {names}")
    out = Path(args.out or Path("work_dirs", "fully_supervised", args.data))
    runs = [
        Run(
            data=args.data,
            model=model,
            title=manifest["models"][model]["title"],
            config=_config(manifest["models"][model]["config"]),
            arm=arm,
            seed=seed,
            max_iters=max_iters,
            work_dir=out / model / f"{arm}-seed{seed}",
        )
        for seed in (args.seeds if args.seeds is not None else known.get("seeds", [0]))
        for model in models
        for arm in args.arms or manifest["arms"]
    ]
    # Published figures are Cityscapes'; beside another data set they would mislead.
    published = {m: manifest["models"][m].get("published") for m in models}
    return runs, published if args.data == "cityscapes" else {}


def _config(name: str) -> str:
    """mmseg's own by name; ours by path, wherever the call comes from."""
    return name if name.startswith("mmseg::") else str(HERE.parent / name)


class Pool:
    """Trainings side by side, each with its share of the cores, their progress on stderr."""

    def __init__(self, jobs: int, threads: int, commands: dict[Run, list[str]]) -> None:
        self.jobs, self.threads, self.commands = jobs, threads, commands
        self.errors: dict[Run, str] = {}
        self._waiting: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def run(self) -> None:
        """Train all. A run that fails is noted in ``errors`` and the others go on.

        Raises:
            KeyboardInterrupt: a stop signal came; every training has saved a checkpoint.
        """
        for run in self.commands:
            self._waiting.put(run)
        workers = [threading.Thread(target=self._work) for _ in range(self.jobs)]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        except KeyboardInterrupt:
            self._stopped = True
            for process in list(self._running):
                process.send_signal(signal.SIGTERM)
            for worker in workers:
                worker.join()
            raise

    def _work(self) -> None:
        while not self._stopped:
            try:
                run = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._train(run)

    def _train(self, run: Run) -> None:
        run.work_dir.mkdir(parents=True, exist_ok=True)
        log = run.work_dir / "train.log"
        environment = dict(os.environ, OMP_NUM_THREADS=str(self.threads))
        last = ""
        with open(log, "a") as file:
            # A session of its own: Ctrl-C reaches the trainings through us, once.
            process = subprocess.Popen(
                self.commands[run], stdout=file, stderr=subprocess.PIPE, text=True,
                env=environment, start_new_session=True)  # fmt: skip
            self._running.add(process)
            for line in process.stderr:
                file.write(line)
                if line.startswith((run.model, "error:")):
                    print(line, end="", file=sys.stderr, flush=True)
                last = line.strip() or last
        code = process.wait()
        self._running.discard(process)
        if code and not self._stopped:
            reason = last.removeprefix("error: ") or f"exit code {code}"
            self.errors[run] = f"{reason} (see {log})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="streets", help="data set [streets, the embedded one]")
    parser.add_argument("--data-root", help="where it lies [data/raw/NAME]")
    parser.add_argument("--models", nargs="+", help="names in experiments.yaml")
    parser.add_argument("--arms", nargs="+", choices=["baseline", "ce-scaled", "hl"])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--max-iters", type=int)
    parser.add_argument("--out", help="folder of runs and report [work_dirs/fully_supervised/DATA]")
    parser.add_argument("--jobs", type=int, help="trainings side by side [GPU: 1, CPU: the cores]")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--train-args", default="", metavar="'...'",
                        help="further flags for train.py, e.g. --amp")  # fmt: skip
    args = parser.parse_args()

    runs, published = plan(args)
    gpus = int(os.environ.get("GPUS", 1))
    root = args.data_root or str(registry.get(args.data).default_root)
    commands = {
        run: run.command(root, gpus, shlex.split(args.train_args))
        for run in runs
        if run.result() is None
    }
    if args.dry_run:
        for run in runs:
            print(shlex.join(commands[run]) if run in commands else f"# finished: {run.work_dir}")
        return

    registry.locate(args.data, args.data_root)  # a missing data set is told once, at the start
    cores = os.cpu_count() or 1
    jobs = args.jobs or (1 if gpus > 1 or _has_gpu() else min(cores, len(commands) or 1))
    if commands:
        print(f"{len(commands)} of {len(runs)} runs to do, {jobs} at a time", file=sys.stderr)
    pool = Pool(jobs, max(1, cores // jobs), commands)
    try:
        pool.run()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)

    results = [
        dict(model=r.model, title=r.title, arm=r.arm, seed=r.seed, error=pool.errors[r])
        if r in pool.errors else r.result() for r in runs]  # fmt: skip
    out = runs[0].work_dir.parents[1]
    command = shlex.join(["bash", "fully_supervised/run_all.sh", *sys.argv[1:]])
    report = write_report(out, results, [r.work_dir for r in runs],
                          title=f"Pixel-hardness learning on {args.data}", command=command,
                          published=published)  # fmt: skip
    print(report.markdown)
    print(f"page: {report.paths['html']}")
    sys.exit(1 if pool.errors else 0)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main_line(main, DataError)
