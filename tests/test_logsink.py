"""The sink of the log: nobody waits for it, lines leave whole, and what is lost is told where it is missing."""

import errno
import fcntl
import io
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, cast

import click
import pytest

from proxy import logs
from proxy.logsink import ATOMIC, MOST_CHARACTERS, MOST_LINES, Outlet, Sink
from tests.product import ROOT

PATIENCE = 10.0  # seconds


def loss(lines: int) -> str:
    return f"lost {lines}\n"


def until(reached: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """Its reading end, and a stream that writes to it; as small as a pipe can be."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
    os.close(reader)


def drained(reader: int) -> tuple[threading.Thread, list[bytes]]:
    """Read on until the end."""
    found: list[bytes] = []

    def read() -> None:
        while data := os.read(reader, 65536):
            found.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, found


@pytest.mark.parametrize("waits", [True, False], ids=["blocking", "nonblocking"])
def test_what_a_full_pipe_cost_is_told_where_it_is_missing(pipe: tuple[int, io.TextIOWrapper], *, waits: bool) -> None:
    """Every line is there or counted, in its order, and the loss is told without anybody saying more."""
    reader, stream = pipe
    os.set_blocking(stream.fileno(), waits)
    sink = Sink(stream, loss)
    for number in range(MOST_LINES + 3000):
        sink.put(f"line {number}\n")
    thread, found = drained(reader)
    until(lambda: added(found) == MOST_LINES + 3000)  # without another line
    sink.put("after\n")
    assert sink.close()
    stream.close()
    thread.join(PATIENCE)
    assert b"".join(found).endswith(b"\nafter\n")
    assert b"lost " in b"".join(found)


def added(found: list[bytes]) -> int:
    """How many lines came or were told as lost; each number stands where that count comes to it."""
    count = 0
    for line in b"".join(found).decode().splitlines(keepends=True):
        match line.removesuffix("\n").split():
            case ["line", number] if line.endswith("\n"):
                assert number == str(count)
                count += 1
            case ["lost", number] if line.endswith("\n"):
                count += int(number)
            case _:
                break
    return count


def test_few_but_long_lines_are_bounded_too(pipe: tuple[int, io.TextIOWrapper]) -> None:
    """Tracebacks by the thousand take no more memory than this."""
    sink = Sink(pipe[1], loss)
    for _ in range(100):
        sink.put("x" * (1 << 20))
    assert sink._characters <= MOST_CHARACTERS + (1 << 20)
    assert 100 - MOST_CHARACTERS // (1 << 20) >= sink._dropped > 80
    thread, _ = drained(pipe[0])
    assert sink.close()
    pipe[1].close()
    thread.join(PATIENCE)


class Disk(io.StringIO):
    """A stream that has room, or has not."""

    room = True

    def write(self, text: str) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "full")
        return super().write(text)


def test_what_a_full_disk_cost_is_told_once_there_is_room() -> None:
    """Before the next line; or at the end, if there is none."""
    disk = Disk()
    sink = Sink(disk, loss)
    sink.put("first\n")
    until(disk.getvalue)
    disk.room = False
    for _ in range(3):
        sink.put("lost\n")
    until(lambda: sink._unwritten == 3)
    disk.room = True
    sink.put("second\n")
    until(lambda: "second" in disk.getvalue())
    disk.room = False
    sink.put("lost\n")
    until(lambda: sink._unwritten)
    disk.room = True
    assert sink.close()
    assert (disk.getvalue(), sink.lost) == ("first\nlost 3\nsecond\nlost 1\n", 4)


FULL_IN_THE_MIDDLE = """
import resource, sys
from proxy.logsink import Sink
sink = Sink(open(sys.argv[1], "w"), lambda lines: f"lost {lines}\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 1000))
for number in range(4):
    sink.put(f"line {number} ...\\n")
while sink._unwritten < 2: pass
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sink.put("after\\n")
sink.close()
"""


def test_a_line_that_went_in_half_is_counted_and_ended(tmp_path: Path) -> None:
    """What comes next begins on a line of its own."""
    code = f"import time\n{FULL_IN_THE_MIDDLE}".replace("pass", "time.sleep(0.001)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], cwd=ROOT, timeout=20, check=True)
    # 25 bytes have gone.
    assert (tmp_path / "log").read_text() == "line 0 ...\nline 1 ...\nlin\nlost 2\nafter\n"


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    """At one pipe, each line leaves at once, as long as it is shorter than what the system keeps together."""
    code = textwrap.dedent("""
        import sys
        from proxy.logsink import Sink
        sink = Sink(sys.stderr, lambda lines: "")
        for number in range(2000):
            sink.put(sys.argv[1] * (number % 700) + "\\n")
        while not sink.close(): pass
    """)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)  # what does not fit at once is torn
    thread, found = drained(reader)
    started = [
        subprocess.Popen([sys.executable, "-c", code, letter], cwd=ROOT, stderr=writer, env={"HOME": str(tmp_path)})
        for letter in "aé"
    ]
    os.close(writer)
    assert [0, 0] == [process.wait(PATIENCE) for process in started]
    thread.join(PATIENCE)
    os.close(reader)
    lines = b"".join(found).decode().split("\n")[:-1]
    assert 4000 == len(lines)
    assert [] == [line for line in lines if len(set(line)) > 1]


def test_a_file_that_is_emptied_meanwhile_has_no_hole(tmp_path: Path) -> None:
    """As `logrotate` does with `copytruncate`, whether the shell has opened it with > or with >>."""
    file = tmp_path / "log"
    with file.open("w") as stream:
        sink = Sink(stream, loss)
        sink.put("before\n")
        until(file.read_text)
        os.truncate(file, 0)
        sink.put("after\n")
        assert sink.close()
    assert file.read_text() == "after\n"


def test_many_lines_leave_at_once(pipe: tuple[int, io.TextIOWrapper]) -> None:
    """As many as a pipe keeps together, no more."""
    sink = Sink(pipe[1], loss)
    for _ in range(1000):
        sink.put(f"{'x' * 99}\n")
    sizes: list[int] = []
    while sum(sizes) < 100_000:
        sizes.append(len(os.read(pipe[0], 65536)))
    assert sink.close()
    assert max(sizes) <= ATOMIC
    assert len(sizes) < 200


def test_what_is_said_on_stderr_goes_the_same_way() -> None:
    """Whole lines at once, others when they are flushed; bytes are for others, as click finds out."""
    disk = Disk()
    sink = Sink(disk, loss)
    outlet = Outlet(sink)
    outlet.write("be")
    outlet.write("gun\nand ")
    until(disk.getvalue)
    assert disk.getvalue() == "begun\n"
    outlet.flush()
    click.echo("more ✓", file=cast("TextIO", outlet))
    with pytest.raises(TypeError):
        outlet.write(b"bytes")  # type: ignore[arg-type]
    assert sink.close()
    assert (disk.getvalue(), outlet.isatty()) == ("begun\nand more ✓\n", False)


def test_something_said_in_the_midst_of_saying_something_is_harmless() -> None:
    """A destructor may run anywhere, and what it says must not wait for itself."""
    disk = Disk()
    sink = Sink(disk, loss)

    class Talkative(str):
        __slots__ = ()

        def __len__(self) -> int:
            sink.put("inner\n")
            return 6

    sink.put(Talkative("outer\n"))
    assert sink.close()
    assert {"inner", "outer"} == set(disk.getvalue().split())


CLAIMED = """
import sys, threading, warnings, click
from proxy import logs
logs.setup("json", "info", sys.stderr)
logs.claim_stderr()
logs.catch_uncaught()
click.echo("echo", err=True)
print("print", file=sys.stderr)
warnings.warn("warning")
logs.setup("json", "info", sys.stderr)  # another time: the same sink
logs.get("x").info("line")
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
raise SystemExit(7)
"""


@pytest.mark.parametrize("sink", ["blocked", "full"])
def test_a_process_whose_stderr_is_claimed_ends_in_time(pipe: tuple[int, io.TextIOWrapper], sink: str) -> None:
    """Though nobody reads, or there is no room. Its exit code is its own; Python's own end waits for nothing either."""
    os.write(pipe[1].fileno(), b"x" * 4096)  # it is full
    began = time.monotonic()
    with Path("/dev/full").open("w") as full:
        stderr = pipe[1] if sink == "blocked" else full
        done = subprocess.run([sys.executable, "-c", CLAIMED], cwd=ROOT, stderr=stderr, timeout=20, check=False)
    assert 7 == done.returncode
    assert time.monotonic() - began < 8


def test_all_that_is_said_comes_in_its_order() -> None:
    """Of click, print, warnings and the log, as if nothing were in between."""
    done = subprocess.run(
        [sys.executable, "-c", CLAIMED], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    told = done.stderr.splitlines()
    assert ["echo", "print"] == told[:2]
    assert "UserWarning: warning" in told[2]
    assert '"event": "line"' in told[-2]
    assert "ZeroDivisionError" in told[-1]
    assert 7 == done.returncode


def test_close_gives_stderr_back() -> None:
    """Where the sink took all, what is said later goes where it always went."""
    before = sys.stderr
    disk = Disk()
    sys.stderr = disk
    try:
        logs.setup("json", "info", disk)
        logs.claim_stderr()
        assert isinstance(sys.stderr, Outlet)
        logs.close()
        assert sys.stderr is disk
    finally:
        sys.stderr = before
