"""The past in memory: rates, times and budgets in two rings that never grow, with gaps where nobody looked."""

import asyncio
import json
import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy import history as past
from proxy.clock import Now
from proxy.history import LONG_STEPS, OTHERS, STEP, STEPS, History, Ring, Values, quantile
from proxy.metrics import Metrics
from tests.house import house

WALL = 1_795_000_000.0


class TwoClocks:
    """Both moved by hand; the wall may be stepped by itself."""

    def __init__(self) -> None:
        self.wall, self.boot = WALL, 1000.0

    def now(self) -> Now:
        return Now(self.wall, self.boot)


@dataclass
class Server:
    """Counters, and what looks at them."""

    mounts: list[str] = field(default_factory=lambda: ["questrade"])
    budgets: list[tuple[str, int, int]] = field(default_factory=list)
    clock: TwoClocks = field(default_factory=TwoClocks)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.reload(*self.mounts)
        self.history = History(self.clock, self.metrics, mounts=lambda: self.mounts, budgets=lambda: self.budgets)

    def reload(self, *mounts: str) -> None:
        self.mounts = list(mounts)
        self.metrics.allow(mounts=mounts, clients=["bot"], templates=["/x"], grants=[])

    def calls(self, count: int, mount: str = "questrade", seconds: float = 0.004) -> None:
        answered(self.metrics, count, mount, seconds)

    def later(self, seconds: float = STEP, *, looks: int = 1) -> None:
        """Time goes by, and somebody looks."""
        for _ in range(looks):
            self.clock.wall, self.clock.boot = self.clock.wall + seconds, self.clock.boot + seconds
            self.history.sample()

    def hour(self) -> past.Shown:
        return self.history.shown("1h")

    def day(self) -> past.Shown:
        return self.history.shown("24h")


def answered(metrics: Metrics, count: int, mount: str, seconds: float, status: int = 200) -> None:
    for _ in range(count):
        metrics.upstream(mount, status, seconds)
        metrics.answered(mount=mount, template="/x", method="GET", status=status, client="bot", seconds=seconds)


@pytest.fixture(name="server")
def _server() -> Server:
    return Server()


def near(expected: Any) -> Any:
    """Numbers are kept in four bytes."""
    return pytest.approx(expected, rel=1e-6)


def tail(values: Values, count: int) -> Values:
    return values[-count:]


def test_calls_are_shown_as_a_rate(server: Server) -> None:
    """A second, by mount; before the start nobody looked."""
    server.calls(20)
    server.later()
    server.later()
    server.calls(5)
    server.later()
    shown = server.hour()
    assert [None, near(2.0), 0.0, near(0.5)] == tail(shown.calls["questrade"], 4)
    assert (STEPS, STEP) == (len(shown.calls["questrade"]), shown.step)
    assert server.clock.wall == near(shown.end)


def test_refusals_and_errors_of_the_broker_are_told_apart(server: Server) -> None:
    """What bearerd refused; and what the broker answered with 5xx, or not at all. A 404 of the broker is neither."""
    server.metrics.denied("scope-denied", "questrade", "bot")
    server.metrics.denied("login-needed")
    server.metrics.denied("broker-timeout", "questrade", "bot")
    answered(server.metrics, 3, "questrade", 0.1, 502)
    answered(server.metrics, 5, "questrade", 0.1, 404)
    server.later()
    shown = server.hour()
    assert (near(0.2), near(0.4)) == (shown.denied[-1], shown.errors[-1])


def test_times_come_from_the_buckets(server: Server) -> None:
    """The median and the 95th percentile of the ten seconds; without a call there is none."""
    server.calls(90, seconds=0.004)
    server.calls(10, seconds=0.4)
    server.later()
    server.later()
    shown = server.hour()
    assert shown.p50[-2] is not None
    assert shown.p95[-2] is not None
    assert 0.0025 <= shown.p50[-2] <= 0.005
    assert 0.25 <= shown.p95[-2] <= 0.5
    assert (None, None) == (shown.p50[-1], shown.p95[-1])


@pytest.mark.parametrize(
    ("part", "between", "expected"),
    [
        (0.5, [0.0] * 15, math.nan),
        (0.5, [10.0] + [0.0] * 14, 0.0005),
        (1.0, [0.0, 4.0] + [0.0] * 13, 0.0025),
        (0.5, [1.0, 0.0, 1.0] + [0.0] * 12, 0.001),
        (0.95, [0.0] * 14 + [3.0], 30.0),
    ],
    ids=["no-call", "first", "upper-bound", "on-a-bound", "beyond"],
)
def test_a_quantile_lies_within_its_bucket(part: float, between: list[float], expected: float) -> None:
    """As if calls were evenly spread there; what took longer than the last bound took that."""
    assert quantile(part, between) == pytest.approx(expected, nan_ok=True)


def test_a_day_is_shown_in_steps_of_five_minutes(server: Server) -> None:
    """Rates over all of it, the quantile of all calls, and the least that was left of a budget."""
    server.clock.boot = 30_000.0
    server.history = History(server.clock, server.metrics, mounts=lambda: server.mounts, budgets=lambda: server.budgets)
    server.budgets = [("questrade market", 10, 20)]
    server.calls(300)
    server.later(looks=15)
    server.budgets = [("questrade market", 5, 20)]
    server.later(looks=14)
    assert near(300 / 290) == server.day().calls["questrade"][-1], "what there is of the newest five minutes"
    server.budgets = [("questrade market", 20, 20)]
    server.later()
    server.calls(1, seconds=9.0)
    server.later()
    shown = server.day()
    assert (LONG_STEPS, 300.0) == (len(shown.denied), shown.step)
    assert [None, near(1.0), near(0.1)] == tail(shown.calls["questrade"], 3)
    assert [near(0.25), near(1.0)] == tail(shown.left["questrade market"], 2)
    assert shown.p50[-1] == pytest.approx(7.5)


def test_where_nobody_looked_there_is_a_gap(server: Server) -> None:
    """A machine that slept: no zero is made up, and nobody knows when the calls were that were counted since."""
    server.calls(10)
    server.later()
    server.calls(1000)
    server.later(3600 - 5 * STEP)
    server.calls(10)
    server.later()
    values = server.hour().calls["questrade"]
    assert near(1.0) == values[3]
    assert [None] * (STEPS - 5) == values[4:-1]
    assert near(1.0) == values[-1]


def test_a_late_look_stands_for_those_that_were_missed(server: Server) -> None:
    """A loop that was busy for half a minute: what was counted is spread over it."""
    server.later()
    server.calls(90)
    server.later(30)
    assert [0.0, near(3.0), near(3.0), near(3.0)] == tail(server.hour().calls["questrade"], 4)


def test_a_clock_that_is_stepped_changes_nothing(server: Server) -> None:
    """Neither order nor rates; the axis goes by the time as it is now."""
    server.calls(10)
    server.later()
    server.clock.wall -= 86_400
    server.calls(20)
    server.later()
    shown = server.hour()
    assert [near(1.0), near(2.0)] == tail(shown.calls["questrade"], 2)
    assert server.clock.wall == near(shown.end)


def test_a_second_look_in_the_same_ten_seconds_is_none(server: Server) -> None:
    """Nothing is counted twice or lost by it."""
    server.calls(10)
    server.later()
    server.calls(10)
    server.later(0.5)
    server.later(9.5)
    assert [near(1.0), near(1.0)] == tail(server.hour().calls["questrade"], 2)


def test_a_counter_that_begins_anew_is_no_fall(server: Server) -> None:
    """What it has counted since is what has grown."""
    server.calls(100)
    server.later()
    ((_, cell),) = server.metrics.cells("request_seconds")
    cell[:] = [0.0] * len(cell)
    server.calls(20)
    server.later()
    assert [near(10.0), near(2.0)] == tail(server.hour().calls["questrade"], 2)


def test_mounts_come_and_go_with_a_reload(server: Server) -> None:
    """A new one begins when it is there; one that is gone ends, and what is still counted of it is with the others."""
    server.calls(10)
    server.later()
    server.reload("questrade", "alpaca")
    server.calls(20, "alpaca")
    server.later()
    server.reload("alpaca")
    server.calls(30)
    server.later()
    shown = server.hour()
    assert [near(1.0), 0.0, None] == tail(shown.calls["questrade"], 3)
    assert [None, near(2.0), 0.0] == tail(shown.calls["alpaca"], 3)
    assert [None, None, near(3.0)] == tail(shown.calls[OTHERS], 3)
    assert OTHERS == list(shown.calls)[-1]


def test_what_workers_have_counted_is_shown(server: Server) -> None:
    """As it came over their line, when it came."""
    worker = Metrics()
    worker.allow(mounts=["questrade"], clients=["bot"], templates=["/x"], grants=[])
    answered(worker, 40, "questrade", 0.02)
    server.calls(10)
    server.metrics.absorb("worker 1", json.loads(json.dumps(worker.snapshot())))
    server.later()
    server.metrics.absorb("worker 1", json.loads(json.dumps(worker.snapshot())))
    server.later()
    shown = server.hour()
    assert [near(5.0), 0.0] == tail(shown.calls["questrade"], 2)
    assert shown.p95[-2] == pytest.approx(0.0245, abs=0.002)


def test_memory_is_fixed(figure: Callable[[object], None]) -> None:
    """A hundred mounts and fifty budgets: no more than is said, and an hour of looks adds nothing."""
    server = Server([f"m{number}" for number in range(100)])
    server.budgets = [(f"grant{number} orders", 1, 2) for number in range(50)]
    for mount in server.mounts:
        server.calls(1, mount)
    begun = time.perf_counter()
    server.later(looks=STEPS)
    took = (time.perf_counter() - begun) / STEPS
    tracemalloc.start()
    server.later(looks=40)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert server.history.size <= 114 * 1024
    assert (25, 16) == (len(server.hour().calls), len(server.hour().left))
    assert grown < 40_000
    figure(f"{server.history.size / 1024:.0f} KiB; {took * 1e6:.0f} µs a look, with 100 mounts and 50 budgets")


def test_a_line_becomes_free_when_it_is_all_gap() -> None:
    """A mount that was gone for the whole ring leaves its place to another."""
    ring = Ring(1.0, 4)
    ring.forward(10)
    for number in range(30):
        ring.put(("calls", f"m{number}"), 1.0)
    assert 25 == len(ring.names("calls"))
    ring.forward(20)
    ring.put(("calls", "new"), 2.0)
    assert [None, None, None, 2.0] == ring.read(("calls", "new"))
    assert 25 == len(ring.names("calls"))
    assert [None] * 4 == ring.read(("calls", "never"))


async def test_it_looks_by_itself(server: Server) -> None:
    """On the ten seconds of the clock, until it is ended."""

    class Running(TwoClocks):
        """Goes on as the loop does, from just before ten seconds are full."""

        def now(self) -> Now:
            gone = asyncio.get_running_loop().time() - begun
            return Now(WALL + gone, 1009.95 + gone)

    begun = asyncio.get_running_loop().time()
    history = History(Running(), server.metrics, mounts=lambda: server.mounts)
    task = asyncio.get_running_loop().create_task(history.run())
    server.calls(7)
    async with asyncio.timeout(5):
        while history.shown("1h").calls.get("questrade", [None])[-1] is None:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert server.hour().calls == {}


async def test_a_running_server_is_looked_at(state_dir: Path) -> None:
    """Calls over real sockets, a refusal among them; and whoever asks for the console's page gets what was counted."""
    async with house(state_dir) as home:
        for _ in range(3):
            assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        assert 403 == (await home.call("GET", "/questrade/v1/nothing")).status
        home.app.history.sample()
        shown = home.app.operations.history().shown("1h")
        rate = shown.calls["questrade"][-1] or 0.0
        assert rate > 0
        assert shown.denied[-1] == pytest.approx(rate / 4, rel=1e-5)
        assert shown.p95[-1] is not None
        assert shown.end == pytest.approx(home.app.clock.now().wall, abs=20)
