"""A signal ends a script in one line, whatever it is at; real processes, without torch."""

import os
import signal
import subprocess
import sys

import pytest

from core import signals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
PROGRAM = """
import os, signal, sys, time
from core import signals
from core.engine.cli import main_line
def ready(seconds=30):
    print("ready", flush=True)
    time.sleep(seconds)
def taken(number):
    print("took", number, flush=True)
"""


@pytest.fixture
def program(root):
    """``program(body)``: a process that has said "ready"; the body runs in main_line."""
    started = []

    def start(body, **more):
        code = f"{PROGRAM}\ndef main():\n    {body}\nmain_line(main)\n"
        settings = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_defaults,
                        start_new_session=True)  # fmt: skip
        process = subprocess.Popen([sys.executable, "-c", code], cwd=root, text=True,
                                   **settings | more)  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _defaults():
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_line_and_its_exit_code(number, program):
    process = program("ready()")
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == f"{number.name}: stopped\n"
    assert process.returncode == 128 + number


def test_a_signal_in_a_late_import_is_no_import_error(program, tmp_path):
    """A package that tries an import with a bare ``except`` would take the exception."""
    (tmp_path / "late.py").write_text("try: import slow\nexcept BaseException: pass\n")
    (tmp_path / "slow.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(30)")
    process = program(f"sys.path.insert(0, {str(tmp_path)!r}); import late; time.sleep(30)")
    process.terminate()
    assert process.communicate(timeout=20)[1].strip() == "SIGTERM: stopped"
    assert process.returncode == 143


def test_a_second_signal_ends_at_once_one_that_comes_with_the_first_does_not(program):
    process = program("signals.take(taken); ready(); time.sleep(30)")
    process.terminate()
    assert process.stdout.readline() == "took 15\n"
    process.send_signal(signal.SIGINT)  # passed on by a launcher
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(signals._TOGETHER + 0.2)
    process.terminate()
    assert "SIGTERM: ended at once" in process.communicate(timeout=5)[1]
    assert process.returncode == 143


def test_what_nohup_ignores_stays_ignored(program):
    process = program("ready()", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)


def test_a_terminal_that_is_gone_does_not_end_what_is_being_saved(program):
    """The hangup comes, and from then on each write to the terminal would be an error."""
    master, slave = os.openpty()
    process = program(
        "signals.take(lambda n: None); ready(2); print('x' * 9999, file=sys.stderr, flush=True); "
        "os._exit(7)", stderr=slave)  # fmt: skip
    os.close(slave)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(40) == 7


def test_a_forked_process_leaves_signals_to_its_parent(program):
    process = program(
        "child = os.fork()\n"
        "    if child == 0: time.sleep(1.5); os._exit(7)\n"
        "    signals.take(lambda n: None); print('ready', flush=True)\n"
        "    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]); os._exit(code)"
    )
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(20) == 7


@pytest.mark.parametrize(
    ("number", "script"),
    [
        (signal.SIGINT, "fully_supervised/train.py x.py"),
        (signal.SIGHUP, "-m core.export x y"),
        (signal.SIGINT, "-m fully_supervised.run_all --list"),
    ],
)
def test_imports_of_a_script_end_in_a_line(number, script, command):
    process = command(f"-X importtime {script}")
    for line in process.stderr:
        if "| " in line and line.split("|")[-1].strip().startswith("mmengine."):
            break
    process.send_signal(number)
    rest = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + number, rest
    told = [line for line in rest.splitlines() if line and not line.startswith("import time")]
    assert told == [f"{number.name}: stopped before anything was begun"]


def test_importing_core_elsewhere_changes_no_handler(root):
    code = "import signal; a = signal.getsignal(15), signal.getsignal(2); import core.errors; " \
           "assert a == (signal.getsignal(15), signal.getsignal(2))"  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_handlers_are_as_before_when_a_call_has_ended():
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals.caught():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        with pytest.raises(signals.Interrupted) as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.value.code == 143
    assert [signal.getsignal(number) for number in SIGNALS] == before
