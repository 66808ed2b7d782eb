"""Many grants in one store: what a server needs to start with them, to hold them, and to keep them alive.

The fast form has a tenth of the members and bounds for a machine with other work; `make soak` has all of them.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import call
from proxy.clock import Now, SystemClock
from proxy.tokens.answer import Terms
from proxy.tokens.grant import HOUR
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.roster import Reader, Roster
from tests.manymembers import CLIENT, fill, member, prepare, renewed_at_once
from tests.product import COMMAND, Program

KB = 1000


@dataclass
class Started:
    """A server in a process of its own. Times are seconds since it was called, `memory` is in bytes."""

    listening: float
    read: float
    memory: int
    clients: list[dict[str, Any]]
    members: dict[str, Any]


async def started(directory: Path, count: int, *, keys: bool) -> Started:
    """Start a server on a store with so many members, wait until it knows them all, and stop it."""
    await asyncio.to_thread(directory.mkdir, mode=0o700)
    settings, source = await asyncio.to_thread(prepare, directory)
    await fill(settings.config, source, count, SystemClock().now().wall, keys=keys)
    began = time.monotonic()
    server = await asyncio.to_thread(Program, directory, "serve", "-c", "config.yaml", command=COMMAND)
    try:
        await asyncio.to_thread(server.until, "serves http")
        listening = time.monotonic() - began
        while True:
            status = await call(directory / "admin.sock", "status", {}, timeout=30)
            if not status["mounts"][0]["members"]["reading"]:
                break
            await asyncio.sleep(0.05)
        read = time.monotonic() - began
        await asyncio.sleep(1.0)
        memory = _memory(server.pid)
    finally:
        assert 0 == await asyncio.to_thread(server.stop)
    return Started(listening, read, memory, status["clients"], status["mounts"][0]["members"])


def _memory(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found is not None
    return 1024 * int(found[1])


async def _start(state_dir: Path, count: int, figure: Callable[[object], None], *, keys: bool) -> Started:
    """A server with so many members, its figures, and the bounds that every form of the test holds."""
    without = await started(state_dir / "none", 0, keys=False)
    found = await started(state_dir / f"members-{keys}", count, keys=keys)
    each = (found.memory - without.memory) / count
    figure(
        f"{count:,} grants{', each with a bound client key' if keys else ''}: listening after {found.listening:.1f} s, "
        f"all read after {found.read:.1f} s, {each:.0f} bytes each"
    )
    assert {"fresh": count} == found.members["states"]
    assert [(CLIENT, count * keys, count * keys)] == [
        (client["name"], client["keys"], client["bound"]) for client in found.clients
    ]
    assert each < 2 * KB
    return found


@pytest.mark.timing
async def test_a_server_starts_with_many_grants_and_holds_them(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """It serves before it has read them all, and each costs less than 2 kB."""
    assert (await _start(state_dir, 10_000, figure, keys=False)).read < 10.0


@pytest.mark.soak
@pytest.mark.timing
@pytest.mark.timeout(300)
@pytest.mark.parametrize("keys", [False, True], ids=["grants", "keys"])
async def test_a_server_starts_with_a_hundred_thousand_grants(
    state_dir: Path, figure: Callable[[object], None], keys: bool
) -> None:
    """In at most 10 seconds, with a client key for each of them or without."""
    assert (await _start(state_dir, 100_000, figure, keys=keys)).listening < 10.0


@pytest.mark.timing
def test_a_cycle_of_a_member_costs_the_timer_next_to_nothing(figure: Callable[[object], None]) -> None:
    """To plan its next look, and to see that it has come: at most 5 µs of processor time."""
    count, now = 100_000, Now(1.8e9, 1e6)
    login, live = _questrade()
    reader = Reader(Terms.of(*live, login), "questrade/lab", "refresh-token", Quarantine())
    one = reader.read("questrade/x", 1, member(1, now.wall).to_record(), None, now)
    roster = Roster("a server")
    for number in range(count):
        _ = roster.put(replace(one, name=f"questrade/user-{number}", refreshed=now.wall - 11 * HOUR * number / count))
    began = time.process_time()
    for each in roster:
        roster.look(each, roster.keep_alive(each, now))
    seen = sum(1 for boot in range(int(now.boot), int(now.boot + 14 * HOUR)) for _ in roster.due(boot))
    spent = (time.process_time() - began) / count
    figure(f"timer work: {1e6 * spent:.1f} µs a grant a cycle, with {count:,} grants")

    assert count == seen
    assert spent < 5e-6 * 2  # other work on the machine costs caches


def _questrade() -> tuple[Any, tuple[Any, Any]]:
    from proxy.brokers import builtin

    broker = builtin("questrade")
    return broker.login(), (broker, broker.environments["live"])


async def _cycles(directory: Path, count: int, figure: Callable[[object], None]) -> None:
    """Have so many members renewed at once, in a process without anything that watches it."""
    found = await asyncio.to_thread(renewed_at_once, directory, count)
    figure(
        f"{count:,} renewals at once, with keeper, journal and commit: "
        f"{1e6 * found['spent']:.0f} µs of processor time each, one in {1e6 * found['took']:.0f} µs"
    )
    assert (count, {"fresh": count}) == (found["posts"], found["states"])
    assert found["spent"] < 0.02  # the machine may be busy with something else


@pytest.mark.timing
async def test_many_renewals_at_once_are_paid_for_one_by_one(state_dir: Path, figure: Callable[[object], None]) -> None:
    """Each is a keeper that comes and goes, two syncs of the journal and one commit; none is forgotten or doubled."""
    await _cycles(state_dir, 500, figure)


@pytest.mark.soak
@pytest.mark.timing
@pytest.mark.timeout(300)
async def test_ten_thousand_renewals_at_once(state_dir: Path, figure: Callable[[object], None]) -> None:
    """The same for long enough that nothing but the renewals counts."""
    await _cycles(state_dir, 10_000, figure)
