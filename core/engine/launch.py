"""How training scripts are started: alone, by torchrun on one or more machines, or by srun."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import ConfigError

TIMEOUT = 600  # seconds
# Set by --dist-timeout: it is of this start, and no setting of the run.
TIMEOUT_VARIABLE = "HL_DIST_TIMEOUT"
# What gloo, torch's store and NCCL say of a process that has gone, or does not answer.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Connection refused",
         "Timed out waiting", "Application timeout", "Broken pipe", "Socket Timeout", "ncclRemote",
         "NCCL watchdog", "collective operation timeout", "failed to recv", "wait timeout",
         "pair closure")  # fmt: skip


def timeout(configured: int | None = None) -> int:
    """Seconds until a process that does not answer counts as lost.

    Args:
        configured: what the config says, which ``--dist-timeout`` overrides.
    """
    return int(os.environ.get(TIMEOUT_VARIABLE) or configured or TIMEOUT)


def has_lost_a_process(error: BaseException) -> bool:
    """Whether ``error`` is what one of several processes gets when another one is gone."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    known = isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST)
    return several and known


def world_size(launcher: str) -> int:
    """Number of processes that ``launcher`` (see ``--launcher``) started.

    mmengine sets WORLD_SIZE for all of them only when the Runner is built, from what is read here.
    """
    variables = dict(pytorch="WORLD_SIZE", slurm="SLURM_NTASKS", mpi="OMPI_COMM_WORLD_SIZE")
    return int(os.environ.get(variables[launcher], 1)) if launcher != "none" else 1


# By launcher: what it sets, and how it is started.
_SETS = {
    "pytorch": (("RANK", "WORLD_SIZE", "MASTER_ADDR"), "torchrun --nproc_per_node N"),
    "slurm": (("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"), "srun"),
    "mpi": (("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), "mpirun"),
}
# What tells, without ``--launcher``, that this process is one of several.
_COUNTS = {
    "pytorch": "WORLD_SIZE",
    "slurm": "SLURM_STEP_NUM_TASKS",  # SLURM_NTASKS is set in a batch script, too
    "mpi": "OMPI_COMM_WORLD_SIZE",
}


def check_started(launcher: str) -> None:
    """That ``launcher`` started this process, and no other one.

    Raises:
        ConfigError: it did not; or none is named, and this is one of several processes, which
            would all train the same.
    """
    if launcher in _SETS:
        names, how = _SETS[launcher]
        if missing := [name for name in names if name not in os.environ]:
            raise ConfigError(
                f"{launcher} is for processes that {how.split()[0]} starts, and {missing[0]} is "
                f"not set: {how} SCRIPT … --launcher {launcher}, or leave --launcher out"
            )
    elif launcher == "none":
        for name, variable in _COUNTS.items():
            if int(os.environ.get(variable, 1)) > 1:
                raise ConfigError(
                    f"this is one of {os.environ[variable]} processes, which would all train the "
                    f"same: add --launcher {name}"
                )


@dataclass(frozen=True)
class Launch:
    """The start of a command.

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

    def command(self, script: str, arguments: Sequence[str]) -> tuple[str, ...]:
        """The whole command that starts a script with its arguments."""
        if self.launcher == "slurm":
            start = ["srun", *self.slurm, sys.executable, "-u", script, "--launcher", "slurm"]
        elif self.gpus * self.nodes <= 1:
            start = [sys.executable, script]
        else:
            where = ["--standalone"] if self.nodes == 1 else [
                f"--nnodes={self.nodes}", f"--node_rank={self.node_rank}",
                f"--master_addr={self.address}", f"--master_port={self.port}"]  # fmt: skip
            torchrun = ["-m", "torch.distributed.run", *where, f"--nproc_per_node={self.gpus}"]
            start = [sys.executable, *torchrun, script, "--launcher", "pytorch"]
        return (*start, *arguments)

    @property
    def here(self) -> Launch:
        """On this machine alone, with its GPUs."""
        return replace(self, nodes=1, node_rank=0)

    @property
    def processes(self) -> int:
        """Of all machines."""
        return self.gpus if self.launcher == "slurm" else self.gpus * self.nodes

    @property
    def at_once(self) -> int | None:
        """Trainings side by side: one where it takes several GPUs, else what fits."""
        return 1 if self.gpus * self.nodes > 1 or self.launcher == "slurm" else None

    @property
    def is_first(self) -> bool:
        """Whether this is the machine that evaluates and writes the report."""
        return self.node_rank == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise ConfigError(f"{name}={text}: give a number")
    return int(text)
