"""Trainings side by side on one machine, each a process of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Job:
    """A command. ``name`` begins its lines of progress; ``work_dir`` gets its ``train.log``."""

    name: str
    work_dir: Path
    command: tuple[str, ...]


def launch(script: Path, gpus: int) -> list[str]:
    """How a training script is started on ``gpus`` GPUs (0 or 1: no launcher)."""
    if gpus <= 1:
        return [sys.executable, str(script)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}"]
    return [sys.executable, *torchrun, str(script), "--launcher", "pytorch"]


def run_jobs(jobs: Sequence[Job], at_once: int | None = None) -> dict[str, str]:
    """Run all; one that fails does not stop the others.

    Args:
        at_once: how many at a time; by default one where there is a GPU, else one a core.

    Returns:
        By job name why it failed, with the log to look into.

    Raises:
        SystemExit: a stop signal came; every training has saved a checkpoint.
    """
    cores = os.cpu_count() or 1
    at_once = at_once or (1 if torch.cuda.is_available() else min(cores, len(jobs) or 1))
    pool = _Pool(at_once, max(1, cores // at_once), jobs)
    try:
        pool.run()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    return pool.errors


class _Pool:
    """Each job with its share of the cores, their progress on stderr."""

    def __init__(self, at_once: int, threads: int, jobs: Sequence[Job]) -> None:
        self.at_once, self.threads, self.jobs = at_once, threads, jobs
        self.errors: dict[str, str] = {}
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def run(self) -> None:
        for job in self.jobs:
            self._waiting.put(job)
        workers = [threading.Thread(target=self._work) for _ in range(self.at_once)]
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
                job = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._train(job)

    def _train(self, job: Job) -> None:
        job.work_dir.mkdir(parents=True, exist_ok=True)
        log = job.work_dir / "train.log"
        environment = dict(os.environ, OMP_NUM_THREADS=str(self.threads))
        last = ""
        with open(log, "a") as file:
            # A session of its own: Ctrl-C reaches the trainings through us, once.
            process = subprocess.Popen(
                job.command, stdout=file, stderr=subprocess.PIPE, text=True,
                env=environment, start_new_session=True)  # fmt: skip
            self._running.add(process)
            for line in process.stderr:
                file.write(line)
                if line.startswith((job.name, "error:")):
                    print(line, end="", file=sys.stderr, flush=True)
                last = line.strip() or last
        code = process.wait()
        self._running.discard(process)
        if code and not self._stopped:
            reason = last.removeprefix("error: ") or f"exit code {code}"
            self.errors[job.name] = f"{reason} (see {log})"
