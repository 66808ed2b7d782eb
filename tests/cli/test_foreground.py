"""A program in our place: signals, terminal, exit codes. Each test has a process of its own, with a shell in it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.product import ROOT

RUN = [
    sys.executable,
    "-c",
    "import os, sys; from proxy.cli import foreground; sys.exit(foreground.run(sys.argv[1:], os.environ))",
]
TELLING = """
import os, signal, sys
def tell(text):  # print() must not be interrupted by itself
    os.write(1, text.encode() + b"\\n")
for name in sys.argv[1:]:
    signal.signal(signal.Signals["SIG" + name], lambda number, _: tell(signal.Signals(number).name))
tell("ready")
sys.stdin.readline()
sys.exit(3)
"""


@contextmanager
def running(*command: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [*RUN, *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # as a shell does it: in a group without a parent outside, SIGTSTP would stop nobody
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("kill -INT $$", 130)],
)
def test_the_exit_code_is_the_program_s(script: str, code: int) -> None:
    """128 + n for one that a signal has ended, as shells say it."""
    assert code == subprocess.run([*RUN, "sh", "-c", script], cwd=ROOT, check=False).returncode


def test_what_goes_in_and_out_is_untouched() -> None:
    """Standard input, output and error are the program's own, byte for byte."""
    content = bytes(range(256)) * 4096
    done = subprocess.run([*RUN, "cat"], input=content, capture_output=True, cwd=ROOT, check=True)

    assert (content, b"") == (done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "CONT"])
def test_a_signal_is_passed_on(name: str) -> None:
    """The program gets it once, and goes on as it likes."""
    with running(sys.executable, "-c", TELLING, name) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()

        process.send_signal(signal.Signals[f"SIG{name}"])

        assert f"SIG{name}\n" == process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        assert 3 == process.wait(10)
        assert "" == process.stdout.read()


def test_a_program_that_ignores_nothing_dies_of_what_we_get() -> None:
    """Python's own habit of ignoring SIGPIPE does not come along."""
    with running("sh", "-c", "kill -PIPE $$; echo alive") as process:
        assert 128 + signal.SIGPIPE == process.wait(10)
    with running("sh", "-c", "echo ready; exec sleep 60") as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        process.terminate()
        assert 128 + signal.SIGTERM == process.wait(10)


def test_a_stopped_program_stops_us_too() -> None:
    """So that a shell sees a stopped job; SIGCONT wakes both."""
    with running("sh", "-c", "echo ready; kill -TSTP $$; echo awake") as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

        process.send_signal(signal.SIGCONT)

        assert "awake\n" == process.stdout.readline()
        assert 0 == process.wait(10)


def test_ctrl_c_at_a_terminal_arrives_once() -> None:
    """The terminal sends it to everybody in front; nobody passes it on a second time."""
    script = """
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("ready", sys.stdin.isatty(), sys.stdout.isatty(), flush=True)
end = time.monotonic() + 30
while not got and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.5)
sys.exit(len(got))
"""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [*RUN, sys.executable, "-c", script])  # noqa: S606  what a terminal does
    shown = b""
    while b"\n" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(process, 0)
    os.close(terminal)

    assert b"ready True True" in shown
    assert 1 == os.waitstatus_to_exitcode(status)
