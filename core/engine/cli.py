"""What the entry scripts share on the command line: flags, and errors in one line.

Imports nothing heavy: ``--help`` and refused flags answer at once.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import logging
import os
import re
import shlex
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mmengine.config import DictAction

from core import signals
from core.arms import HL_HEADS, KINDS, WEIGHTINGS, Asked
from core.engine.launch import TIMEOUT, TIMEOUT_VARIABLE, check_started, has_lost_a_process, timeout
from core.errors import ConfigError, UserError

ROOT = Path(__file__).resolve().parents[2]
# Numbers that NumPy and torch both take.
SEEDS = range(2**32)
WHOLE = range(1, 10**9 + 1)
# Settings of a config that a flag gives, too.
_TWICE = {"randomness.seed": "seed", "train_cfg.max_iters": "max_iters", "work_dir": "work_dir"}
AS_RELEASED = (
    "as the authors' released code computes it, where that is not what the paper says: hl and "
    "ce-scaled with normalize=batch ignored=include, U²PL with every accident under as_released"
)


# Keys of --cfg-options and the least whole number that they may have.
_LEAST = {
    r"train_cfg\.(max_iters|max_epochs|val_interval)": 1,
    r"default_hooks\.\w+\.interval": -1,
    r"\w+_dataloader\.batch_size": 1,
    r"\w+_dataloader\.num_workers": 0,
}
_SECTION = re.compile(
    r"model|optim_wrapper|default_hooks|(train|val|test)_(cfg|dataloader|evaluator)|custom_hooks"
)


class _Settings(DictAction):
    """``DictAction`` that refuses what is no KEY=VALUE, a key with two values, a number in the
    place of a section, and one that no loop or loader can use."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        before = dict(getattr(namespace, self.dest) or {})
        for text in values:
            key, equals, value = text.partition("=")
            if not (key and equals):
                parser.error(f"{option_string} {text}: give KEY=VALUE")
            now = self._parse_iterable(value)
            if _SECTION.fullmatch(key) and not (now is None or isinstance(now, (list, tuple))):
                parser.error(f"{option_string} {text}: is a section; give {key}.NAME=VALUE")
            for pattern, least in _LEAST.items():
                whole = isinstance(now, int) and not isinstance(now, bool)
                if re.fullmatch(pattern, key) and not (whole and now >= least):
                    parser.error(f"{option_string} {text}: give a whole number, {least} or more")
            if before.setdefault(key, now) != now:
                parser.error(f"{option_string} {key}: given twice, {before[key]} and {now}")
        setattr(namespace, self.dest, before)


class _Parser(argparse.ArgumentParser):
    """``ArgumentParser`` that takes ``--train-args '--amp'`` as well as ``--train-args=--amp``, and
    whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())}; see {self.prog} --help\n")

    def parse_known_args(self, args=None, namespace=None):
        words = list(map(str, sys.argv[1:] if args is None else args))
        if "--train-args" in words[:-1]:
            i = words.index("--train-args")
            words[i : i + 2] = ["=".join(words[i : i + 2])]
        return super().parse_known_args(words, namespace)


def script_parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose ``--help`` shows a script's docstring as it stands."""
    return _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def positive(text: str) -> int:
    """A number of iterations, trainings or seconds.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdigit() or int(text) not in WHOLE:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number, 1 to {WHOLE[-1]:,}")
    return int(text)


def folder(text: str) -> str:
    """The name of a folder: an empty one, of a variable that is not set, is none.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a folder")
    return text


def seed(text: str) -> int:
    """A seed that NumPy and torch both take.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdigit() or int(text) not in SEEDS:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number, 0 to {SEEDS[-1]}")
    return int(text)


def launcher(text: str) -> str:
    """A launcher, if it started this process.

    Raises:
        argparse.ArgumentTypeError: it did not, or another one did.
    """
    try:
        check_started(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


class _LocalRank(argparse.Action):
    """``--local-rank`` as ``torch.distributed.launch`` passes it; torchrun sets LOCAL_RANK."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        os.environ.setdefault("LOCAL_RANK", values)


class _Timeout(argparse.Action):
    """``--dist-timeout``, of this start of the processes and no setting of the run."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        os.environ[TIMEOUT_VARIABLE] = str(values)


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """For a script that builds what the config in a checkpoint says."""
    parser.add_argument("--trust-imports", nargs="+", default=[], metavar="MODULE",
                        help="modules that the checkpoint's config may import, beside this "
                        "project's")  # fmt: skip


def asked_iterations(args: argparse.Namespace) -> int | None:
    """Iterations that flags ask for, by ``--max-iters`` or ``--cfg-options``; None: not at all."""
    return args.max_iters or args.cfg_options.get("train_cfg.max_iters")


def add_launcher_flags(parser: argparse.ArgumentParser) -> None:
    """How several processes were started, and ``--verbose``."""
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
                        type=launcher,
                        help="how several processes were started (torchrun: pytorch)")  # fmt: skip
    parser.add_argument("--local-rank", "--local_rank", action=_LocalRank, dest=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument("--dist-timeout", type=positive, metavar="SECONDS", action=_Timeout,
                        dest=argparse.SUPPRESS, help="of several processes: end when another one "
                        f"has not answered for so long [the config's, or {TIMEOUT}]")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="the whole log on the terminal")


def add_test_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that mmseg users know, for any entry script."""
    parser.add_argument(
        "--work-dir", type=folder, default="work_dirs/test", help="where logs and checkpoints go"
    )
    parser.add_argument("--cfg-options", nargs="+", action=_Settings, default={},
                        metavar="KEY=VALUE", help="override settings of the config")  # fmt: skip
    add_launcher_flags(parser)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a training script."""
    add_test_flags(parser)
    parser.set_defaults(work_dir=None)
    parser.add_argument("--resume", action="store_true",
                        help="go on from the latest checkpoint in the work_dir")  # fmt: skip
    parser.add_argument("--fork", action="store_true",
                        help="begin a new run from the latest weights in the work_dir, in a folder "
                        "beside it")  # fmt: skip
    parser.add_argument("--amp", action="store_true", help="mixed precision (needs a GPU)")
    parser.add_argument("--seed", type=seed, help="random seed [the config's, or 0]")
    parser.add_argument("--max-iters", type=positive, metavar="N",
                        help="train N iterations; the schedule shrinks with it")  # fmt: skip
    parser.add_argument("--no-pretrained", action="store_true",
                        help="random weights instead of downloaded ones")  # fmt: skip


def add_weighting_flags(
    parser: argparse.ArgumentParser, default: str, *, sup_only: bool = False
) -> None:
    """How the pixels of the loss are weighted; :func:`read_arm` gives the arm.

    Args:
        default: arm of the script without any of these flags.
        sup_only: whether there is an arm without unlabeled images.
    """
    parser.add_argument("--weighting", choices=WEIGHTINGS, help="how pixels are weighted; "
                        "ce-scaled: not at all, at HL's loss scale "
                        f"[{KINDS[default].weighting}]")  # fmt: skip
    parser.add_argument("--hl", action="store_true", help="the same as --weighting hl")
    parser.add_argument("--no-hl", action="store_true", help="the same as --weighting ce")
    if sup_only:
        parser.add_argument("--sup-only", action="store_true", help="labeled images alone, no HL")
    parser.add_argument("--options", "--hl-options", nargs="+", action="extend", default=[],
                        metavar="KEY=VALUE",
                        help="hl and ce-scaled: c=0.1 alpha=0.01 normalize=image|batch "
                        "ignored=exclude|include head=faithful|lite every=1; ohem: "
                        "thresh=0.7 min_kept=N; "
                        "focal: gamma=2; balanced: reduction=pixels|weights")  # fmt: skip
    parser.add_argument("--hl-head", choices=HL_HEADS, help="the HL branch: a copy of the decode "
                        "head, or two convolutions on what its classifier reads; the same as "
                        "--options head=…")  # fmt: skip
    parser.add_argument("--as-released", action="store_true", help=AS_RELEASED)
    parser.add_argument("--class-weights", metavar="FILE",
                        help="for balanced [counted in the training labels]")  # fmt: skip
    parser.add_argument("--hardness", metavar="DIR", help="for collected: maps that "
                        "collect_hardness.py wrote")  # fmt: skip
    parser.set_defaults(default_arm=default)


def read_arm(args: argparse.Namespace) -> Asked:
    """What the flags say of the arm; options without a name are of the arm that a config says.

    Raises:
        ConfigError: two flags contradict each other, or an option is unknown or out of range.
    """
    asked = [("hl", args.hl), ("baseline", args.no_hl)]
    asked.append(("sup-only", getattr(args, "sup_only", False)))
    named = {name for name, given in asked if given}
    if args.weighting:
        named.add("baseline" if args.weighting == "ce" else args.weighting)
    if len(named) > 1:
        raise ConfigError(f"the flags ask for {' and for '.join(sorted(named))}: give one of them")
    pairs = (*args.options, *([f"head={args.hl_head}"] if args.hl_head else []))
    asked = Asked(named.pop() if named else None, pairs, args.as_released)
    if asked.name:
        asked.arm(asked.name)  # refused now, not after the data set was read
    for flag, kind in (("class_weights", "balanced"), ("hardness", "collected")):
        if getattr(args, flag) and asked.name != kind:
            name = flag.replace("_", "-")
            raise ConfigError(f"--{name} is of --weighting {kind}: give that, too")
    return asked


def check_twice(args: argparse.Namespace) -> None:
    """A setting that both a flag and ``--cfg-options`` give must be the same in both.

    Raises:
        ConfigError: it is not.
    """
    for key, flag in _TWICE.items():
        value, other = getattr(args, flag), args.cfg_options.get(key)
        if None not in (value, other) and value != other:
            raise ConfigError(
                f"--{flag.replace('_', '-')} is {value}, but --cfg-options say {key}={other}: "
                "leave one of the two out"
            )


def duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def note(line: str) -> None:
    """Tell a person what is done otherwise than a config says; once, whatever the processes."""
    if signals.is_first_process():
        print(f"note: {line}", file=sys.stderr)


def command_of(script: str, argv: Sequence[str] | None) -> str:
    """What was typed, as a report shows it: ``python track/script.py --flag``, or ``bash
    track/run_all.sh --flag`` where a shell script of that name starts it."""
    path = Path(script).resolve()
    path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    shell = path.with_suffix(".sh")
    start = ["bash", str(shell)] if (ROOT / shell).is_file() else ["python", str(path)]
    return shlex.join([*start, *map(str, sys.argv[1:] if argv is None else argv)])


def _check_checkout() -> None:
    """The code that is imported is that of the script.

    Raises:
        ConfigError: an environment is active that another checkout was installed into.
    """
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or ROOT / "x/x.py").resolve()
    if (script.parents[1] / "core").is_dir() and script.parents[1] != ROOT:
        raise ConfigError(
            f"{script} would run with the code of {ROOT}: the active environment is that of "
            "another checkout; in this one: source setup.sh"
        )


def main_line(main: Callable[[], None], *errors: type[Exception]) -> None:
    """Run an entry script; an error meant for the user is one line and exit code 1, a stop signal
    one line and 128 + the signal.

    Args:
        main: the script.
        errors: further exception types whose message is meant for the user.
    """
    warnings.filterwarnings("ignore", module=r"(mmseg|mmengine|mmcv|mmpretrain)\b")
    logging.raiseExceptions = False  # of a log that cannot be written
    threading.excepthook = _in_a_thread
    with signals.caught():
        try:
            _check_checkout()
            main()
            _part()
        except signals.Interrupted as stop:
            if stop.words and signals.is_first_process():
                with contextlib.suppress(OSError):  # the terminal is gone
                    print(stop.line, file=sys.stderr, flush=True)
            sys.exit(stop.code)
        except ImportError as error:
            sys.exit(f"error: {error}; set up with: source setup.sh")
        except Exception as error:
            line = _line_of(error, errors)
            if line is None:
                raise
            sys.exit(f"error: {line}")


def _part() -> None:
    """One of several processes that trained together ends here: before the destructors of torch,
    which abort it now and then while threads of gloo's are left."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available():
        return
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _line_of(error: Exception, errors: Sequence[type[Exception]]) -> str | None:
    """What a person is told; None of a fault of ours."""
    if isinstance(error, (UserError, *errors)):
        # From a loader's worker the message comes with a traceback before it.
        line = str(error).strip().splitlines()[-1] if "Traceback" in str(error) else str(error)
        kind = f"{type(error).__module__}.{type(error).__name__}: "
        return " ".join(line.removeprefix(kind).split())
    if has_lost_a_process(error):
        return (f"another process of this run has died or hangs (no answer, waited up to "
                f"{timeout()} s: --dist-timeout); go on with --resume")  # fmt: skip
    if isinstance(error, RuntimeError) and "out of memory" in str(error):
        return ("the GPU's memory is exhausted: take a smaller batch (--cfg-options "
                "train_dataloader.batch_size=N), a smaller crop, or --amp")  # fmt: skip
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return (f"{str(error).strip().splitlines()[0]} It may be for want of memory: fewer "
                "train_dataloader.num_workers need less; go on with --resume")  # fmt: skip
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        room = "; make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return f"{where}{os.strerror(error.errno) if error.errno else error}{room}"
    return None


def _in_a_thread(failed: threading.ExceptHookArgs) -> None:
    """A file that a thread cannot write is a line, too; TensorBoard tells it to who gave it the
    scalars, besides."""
    if isinstance(failed.exc_value, OSError):
        name = failed.thread.name if failed.thread else "a thread"
        note(f"{name} has ended: {_line_of(failed.exc_value, ())}")
    else:
        threading.__excepthook__(failed)
