"""How far long work has come: seen on a terminal, told now and then in a log, never in the way."""

import io
from typing import TextIO

import pytest

from proxy.cli.invocation import Invocation
from proxy.cli.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


class Watch:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(stream: TextIO, *, total: int | None = 200, quiet: bool = False, term: str = "xterm") -> TextIO:
    """What stands on `stream` after 100 steps that take 25 s."""
    watch = Watch()
    invocation = Invocation(quiet=quiet, environ={"TERM": term})
    with Progress(invocation, "records", total, stream=stream, clock=watch) as progress:
        for _ in range(100):
            watch.now += 0.25
            progress.step()
    return stream


def text(stream: TextIO) -> str:
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_a_terminal_has_one_line_that_ends_clean() -> None:
    """Written over each time, and gone in the end: the result stands alone."""
    written = text(told(Terminal()))
    assert "\n" not in written
    assert "\r\x1b[K100 of 200 records (50 %)" in written
    assert written.endswith("\r\x1b[K")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["a file", "a dumb terminal"])
def test_elsewhere_a_line_now_and_then(stream: TextIO) -> None:
    """Every ten seconds, without control characters."""
    term = "dumb" if isinstance(stream, Terminal) else "xterm"
    assert "2 of 200 records (1 %)\n42 of 200 records (21 %)\n82 of 200 records (41 %)\n" == text(
        told(stream, term=term)
    )


def test_what_nobody_can_count_has_no_part() -> None:
    """The end of an audit trail is known when it is reached."""
    assert "2 records\n42 records\n82 records\n" == text(told(io.StringIO(), total=None))


def test_quiet_is_quiet() -> None:
    """With --quiet nothing is said."""
    assert "" == text(told(Terminal(), quiet=True))


def test_a_stream_that_is_gone_stops_no_work() -> None:
    """The copy goes on."""
    assert 1 == told(_Closed()).tried  # type: ignore[attr-defined]


class _Closed(Terminal):
    tried = 0

    def write(self, _text: str) -> int:
        self.tried += 1
        raise BrokenPipeError


def test_short_work_needs_no_word() -> None:
    """Half a second of it."""
    stream = Terminal()
    with Progress(Invocation(), "records", 10, stream=stream, clock=Watch()) as progress:
        for _ in range(10):
            progress.step()
    assert "" == stream.getvalue()
