"""Clients that keep their connection and say nothing: what each of them takes, and whether others notice."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench import crowd
from bench.load import Way
from tests.measured import Measured
from tests.product import COMMAND, Program

MOST = 15_000  # bytes of an idle client
TARGET = "/v1/accounts"


class Demo(Measured):
    """A demo in a process of its own, and the way to its broker's API."""

    def __init__(self, directory: Path) -> None:
        self.program = Program(directory, "demo", "--json", "--port", "0", command=COMMAND)
        at = self.program.document()
        self.process = psutil.Process(self.program.pid)
        self.way = Way(f"{at['url']}/questrade", (f"Authorization: Bearer {at['client_key']}",))


def _measure(directory: Path, count: int, figure: Callable[[object], None]) -> None:
    demo = Demo(directory)
    try:
        one = crowd.Kept(demo.way, TARGET)
        alone = one.median(0.3)
        before = demo.memory
        with crowd.idle(demo.way, count, TARGET):
            each = (demo.memory - before) / count
            beside = one.median(0.3)
        one.close()
    finally:
        assert 0 == demo.program.stop()
    figure(
        f"{count:,} idle clients: {each / 1e3:.1f} kB each; p50 of another one {1e6 * alone:.0f} µs alone, "
        f"{1e6 * beside:.0f} µs beside them"
    )
    assert each <= MOST
    assert beside < 3 * alone + 0.001  # the machine may be busy with something else


@pytest.mark.timing
def test_an_idle_client_takes_next_to_nothing(tmp_path: Path, figure: Callable[[object], None]) -> None:
    """At most 15 kB of memory; nobody else waits longer for it."""
    _measure(tmp_path, 500, figure)


@pytest.mark.soak
@pytest.mark.timing
@pytest.mark.timeout(300)
def test_ten_thousand_idle_clients(tmp_path: Path, figure: Callable[[object], None]) -> None:
    """The same with as many as one process is made for."""
    _measure(tmp_path, 10_000, figure)
