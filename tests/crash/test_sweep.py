"""A rotation that is cut off at any call of the system: nothing is corrupt, and nothing acknowledged is old.

`strace` kills the process just before it makes the call, or lets the call fail as a full or a broken disk, or a broken
network, would. Calls are counted by thread and name; how often a name comes varies a little from run to run, so each
point is judged by what really happened: by the simulator's counters and by what is on the disk.

What can be lost is what nobody can keep: the broker has spent the old token, and the answer is not yet in the journal.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.store.postgres import PostgresStore
from tests.crash.sweeps import at_files, few, few_kills, sweep
from tests.crash.tracing import Call, Point
from tests.crash.yard import COMMIT, SQLITE, yard
from tests.database import Server

KEEP = Point(Call("main", "pwrite64", 1), "KILL")
FULL = Point(Call("sqlite", "pwrite64", 1), "ENOSPC", on=True)
ACTS = ("start", "login", "adopt", "revoke", "add-client")


@pytest.mark.timeout(120)
async def test_a_rotation_cut_off_at_a_call_of_each_kind(
    tmp_path: Path, program: Callable[[str], str], figure: Callable[[object], None]
) -> None:
    """Killed there, or with a full or a failing disk."""
    found = await sweep("SQLite", tmp_path, program("strace"), few)
    figure(found)
    assert [] == found.wrong
    assert len(found.missed) <= 0.2 * len(found.points), "strace counts other calls than it lists"
    assert {"window", "journalled", "stored"} <= {verdict.phase for verdict in found.verdicts}


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_a_rotation_cut_off_at_any_call(
    tmp_path: Path, program: Callable[[str], str], figure: Callable[[object], None]
) -> None:
    """Kill, full disk and failing disk at every call."""
    found = await sweep("SQLite", tmp_path, program("strace"))
    figure(found)
    assert [] == found.wrong
    assert not found.unmet, "no run made such a call again"


@pytest.mark.timeout(120)
async def test_a_rotation_over_postgresql_cut_off_at_a_call_of_each_kind(
    tmp_path: Path, program: Callable[[str], str], postgres: Server, figure: Callable[[object], None]
) -> None:
    """The same where the store is a database: what breaks then is the network to it."""
    found = await sweep("PostgreSQL", tmp_path, program("strace"), few, stores=await databases(postgres))
    figure(found)
    assert [] == found.wrong
    assert len(found.missed) <= 0.2 * len(found.points), "strace counts other calls than it lists"
    assert {"window", "stored"} <= {verdict.phase for verdict in found.verdicts}


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_a_rotation_over_postgresql_cut_off_at_any_call(
    tmp_path: Path, program: Callable[[str], str], postgres: Server, figure: Callable[[object], None]
) -> None:
    """Kill, full disk, failing disk and broken network at every call."""
    found = await sweep("PostgreSQL", tmp_path, program("strace"), stores=await databases(postgres))
    figure(found)
    assert [] == found.wrong
    assert not found.unmet, "no run made such a call again"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("act", ACTS)
async def test_an_act_killed_at_a_call_of_each_kind(
    act: str, tmp_path: Path, program: Callable[[str], str], figure: Callable[[object], None]
) -> None:
    """It is done or not done, done if it was acknowledged, and costs nothing of what was there.

    `start` is a second kill: while an answer is adopted that the first has left in the journal.
    """
    found = await sweep(act, tmp_path, program("strace"), few_kills, act=act, stores=[SQLITE])
    figure(found)
    assert [] == found.wrong
    assert {"new", *(("old",) if act != "start" else ())} <= {verdict.state for verdict in found.verdicts}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("act", ACTS)
async def test_an_act_cut_off_at_any_call(
    act: str, tmp_path: Path, program: Callable[[str], str], figure: Callable[[object], None]
) -> None:
    """The same for kill, full disk and failing disk at every call; of a start's, at those on files of custody's."""
    found = await sweep(act, tmp_path, program("strace"), at_files if act == "start" else list, act=act)
    figure(found)
    assert [] == found.wrong
    assert not found.unmet, "no run made such a call again"


async def test_the_judge_sees_what_is_broken_and_what_is_old(tmp_path: Path, program: Callable[[str], str]) -> None:
    """A store with a page of zeros, a journal that forgot an answer, and an answer that never came to it."""
    async with yard(tmp_path / "yard", program("strace")) as here:
        broken = await here.run(COMMIT, meddle=spoil_the_store)
        assert broken.corrupt
        old = await here.run(FULL, meddle=forget_the_answers)
        assert ["it was acknowledged, and is old"] == old.wrong
        lost = await here.run(KEEP)
        assert ("window", "lost", 1, []) == (lost.phase, lost.state, lost.reused, lost.wrong)


def spoil_the_store(house: Path) -> None:
    for name in ("store.db", "store.db-wal"):
        with (house / "state" / name).open("r+b") as file:
            file.seek(4096)
            file.write(bytes(4096))


def forget_the_answers(house: Path) -> None:
    """Keep the first page of each slot, which is the intent's."""
    with (house / "state/journal").open("r+b") as file:
        for start in range(16384, os.fstat(file.fileno()).st_size, 16384):
            file.seek(start + 4096)
            file.write(bytes(12288))


async def databases(postgres: Server) -> list[str]:
    """Two, each for runs of its own."""
    if not postgres.running:  # a test before this one failed half-way
        await asyncio.to_thread(postgres.start)
    made = [await asyncio.to_thread(postgres.create) for _ in range(2)]
    for address in made:
        await PostgresStore.migrate(address)
    return made
