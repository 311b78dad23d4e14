"""Trainings side by side on one machine, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.engine.cli import duration
from core.processes import process_of
from core.signals import Interrupted

# By this variable trainings know the process that started them, whatever torchrun is between.
SWEEP = "HL_SWEEP"


@dataclass(frozen=True)
class Job:
    """A command. ``name`` begins its lines of progress; ``work_dir`` gets its ``train.log``."""

    name: str
    work_dir: Path
    command: tuple[str, ...]


def run_jobs(jobs: Sequence[Job], at_once: int | None = None) -> dict[str, str]:
    """Run all; one that fails does not stop the others.

    Args:
        at_once: how many at a time; by default one where there is a GPU, else one a core.

    Returns:
        By job name why it failed, with the log to look into.

    Raises:
        Interrupted: a stop signal came; every training has saved a checkpoint and ended.
    """
    if not jobs:
        return {}
    cores = os.cpu_count() or 1
    at_once = at_once or (1 if _has_gpu() else min(cores, len(jobs)))
    pool = _Pool(max(1, cores // at_once), at_once, len(jobs))
    with ThreadPoolExecutor(at_once) as executor:
        try:
            futures = {job.name: executor.submit(pool.train, job) for job in jobs}
            wait(futures.values())
        except Interrupted as stop:
            pool.stop()
            executor.shutdown(cancel_futures=True)
            stop.words = "stopped; the same command goes on from here"
            raise
    errors = {name: future.result() for name, future in futures.items()}
    return {name: error for name, error in errors.items() if error}


def _has_gpu() -> bool:
    import torch  # takes a second, and a sweep that has nothing to do needs none

    return torch.cuda.is_available()


class _Pool:
    """Each job with its share of the cores, their progress on stderr."""

    def __init__(self, threads: int, at_once: int = 1, total: int = 1) -> None:
        self.threads, self.at_once, self.total = threads, at_once, total
        self._started, self._changing = 0, threading.Lock()
        self._seconds: list[float] = []  # of each that has ended
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def stop(self) -> None:
        with self._changing:  # none is just being started
            self._stopped = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def _left(self) -> str:
        """How long it takes from here, after those that have ended."""
        if not self._seconds:
            return ""
        to_come = self.total - len(self._seconds)
        mean = sum(self._seconds) / len(self._seconds)
        return f", about {duration(mean * to_come / self.at_once)} left"

    def train(self, job: Job) -> str | None:
        """Why it failed, None if it did not."""
        start = time.monotonic()
        try:
            reason = self._train(job)
        except OSError as error:  # a folder or a log that cannot be written, a command not run
            where = error.filename or job.work_dir
            reason = f"{where}: {error.strerror or error}"
        self._seconds.append(time.monotonic() - start)
        return reason

    def _train(self, job: Job) -> str | None:
        job.work_dir.mkdir(parents=True, exist_ok=True)
        log = job.work_dir / "train.log"
        environment = dict(os.environ, OMP_NUM_THREADS=str(self.threads),
                           **{SWEEP: json.dumps(process_of(os.getpid()))})  # fmt: skip
        last = ""
        with open(log, "ab", buffering=0) as file:
            process = self._start(job, file, environment)
            if process is None:
                return None
            for line in process.stderr:
                with contextlib.suppress(OSError):  # a full disk: the training says so itself
                    file.write(line.encode())
                if line.startswith((job.name, "error:")):
                    print(line, end="", file=sys.stderr, flush=True)
                last = line.strip() or last
        code = process.wait()
        with self._changing:
            self._running.discard(process)
        if not code:
            return None
        return f"{last.removeprefix('error: ') or f'exit code {code}'} (see {log})"

    def _start(self, job: Job, log: IO[bytes], environment: dict) -> subprocess.Popen | None:
        """The process; None if all is to stop."""
        with self._changing:
            if self._stopped:
                return None
            self._started += 1
            if self.total > 1:
                print(f"run {self._started} of {self.total}: {job.name}{self._left()}",
                      file=sys.stderr, flush=True)  # fmt: skip
            # A session of its own: a signal reaches the trainings through us, once.
            process = subprocess.Popen(
                job.command, stdout=log, stderr=subprocess.PIPE, text=True, errors="replace",
                env=environment, start_new_session=True)  # fmt: skip
            self._running.add(process)
            return process
