"""Many grants in one store: what a server needs to start with them, to hold them, and to keep them alive.

The fast form has a tenth of the members and bounds for a machine with other work; `make soak` has all of them.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manymembers import CLIENT, Started, renewed_at_once, started, timer_work

KB = 1000


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
    count = 100_000
    seen, spent = timer_work(count)
    figure(f"timer work: {1e6 * spent:.1f} µs a grant a cycle, with {count:,} grants")

    assert count == seen
    assert spent < 5e-6 * 2  # other work on the machine costs caches


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
