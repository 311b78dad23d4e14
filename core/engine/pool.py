"""Trainings side by side on one machine, each a process of its own."""

from __future__ import annotations

import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core.engine.configs import ConfigError


@dataclass(frozen=True)
class Job:
    """A command. ``name`` begins its lines of progress; ``work_dir`` gets its ``train.log``."""

    name: str
    work_dir: Path
    command: tuple[str, ...]


@dataclass(frozen=True)
class Launch:
    """How training scripts are started: alone, by torchrun on one or more machines, or by srun.

    Attributes:
        gpus: processes, one a GPU: on this machine (torchrun), or of all machines (srun).
        launcher: ``"pytorch"`` (torchrun) or ``"slurm"`` (srun).
        nodes, node_rank, address, port: of torchrun on several machines, on each of which the same
            command runs.
        slurm: flags of srun.
    """

    gpus: int = 1
    launcher: str = "pytorch"
    nodes: int = 1
    node_rank: int = 0
    address: str = "127.0.0.1"
    port: int = 29500
    slurm: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, launcher: str = "pytorch") -> Launch:
        """From ``GPUS``, torchrun's ``NNODES NODE_RANK MASTER_ADDR MASTER_PORT``, and for srun
        ``GPUS_PER_NODE`` [8], ``CPUS_PER_TASK`` [5], ``SRUN_ARGS``.

        Raises:
            ConfigError: one is not a number, or several machines without an address.
        """
        gpus, nodes = _number("GPUS", 1), _number("NNODES", 1)
        if nodes > 1 and "MASTER_ADDR" not in os.environ:
            raise ConfigError("NNODES needs MASTER_ADDR, the first machine's, and NODE_RANK on all")
        each = min(gpus, _number("GPUS_PER_NODE", 8))
        slurm = (f"--ntasks={gpus}", f"--ntasks-per-node={each}", f"--gres=gpu:{each}",
                 f"--cpus-per-task={_number('CPUS_PER_TASK', 5)}", "--kill-on-bad-exit=1",
                 *shlex.split(os.environ.get("SRUN_ARGS", "")))  # fmt: skip
        address = os.environ.get("MASTER_ADDR", cls.address)
        return cls(gpus, launcher, nodes, _number("NODE_RANK", 0), address,
                   _number("MASTER_PORT", cls.port), slurm)  # fmt: skip

    def command(self, script: Path) -> list[str]:
        """The command up to the script's own flags."""
        if self.launcher == "slurm":
            return ["srun", *self.slurm, sys.executable, "-u", str(script), "--launcher", "slurm"]
        if self.gpus * self.nodes <= 1:
            return [sys.executable, str(script)]
        where = ["--standalone"] if self.nodes == 1 else [
            f"--nnodes={self.nodes}", f"--node_rank={self.node_rank}",
            f"--master_addr={self.address}", f"--master_port={self.port}"]  # fmt: skip
        torchrun = ["-m", "torch.distributed.run", *where, f"--nproc_per_node={self.gpus}"]
        return [sys.executable, *torchrun, str(script), "--launcher", "pytorch"]

    @property
    def at_once(self) -> int | None:
        """Trainings side by side: one where it takes several GPUs, else what fits."""
        return 1 if self.gpus * self.nodes > 1 or self.launcher == "slurm" else None

    @property
    def is_first(self) -> bool:
        """Whether this is the machine that writes the report."""
        return self.node_rank == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise ConfigError(f"{name}={text}: give a number")
    return int(text)


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
