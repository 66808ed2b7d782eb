"""Moving a store to another one, say from a file to a database: same values, generations, commit number and identity.

At no moment may both be in use, or both would redeem. So the order is: the source goes out of use, the target is
filled and compared with it row by row, the source is marked as moved, and only then does the target come into use. A
kill at any moment leaves at least one of them whole, and none in use that is not; the same command goes on from there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxy.store import (
    COPYING,
    MOVED,
    MOVING,
    About,
    Damaged,
    Movable,
    OutOfUse,
    Row,
    StoreError,
    WrongKey,
    out_of_use,
    pages,
)
from proxy.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Copied:
    """What the target holds now."""

    store_id: str
    rows: int
    commits: int


class NotStopped(StoreError):
    """A server is spending a token at this moment, or ended while it was."""


async def copy(
    source: Movable,
    target: Movable,
    sealer: Sealer,
    *,
    to: str,
    prepare: Callable[[], Awaitable[object]],
    tell: Callable[[int], object] = lambda _: None,
) -> Copied:
    """Move everything in `source` to `target`, which the configuration calls `to`. Both opened in any state.

    `prepare` may change the source before its rows are read, once it is out of use. `tell` hears how many rows were
    copied so far. Raises `NotStopped`, `OutOfUse`, other `StoreError`s; then the same call goes on from there, or
    `cancel` puts the source in use again.
    """
    here, there = await source.about(), await target.about()
    if here.state == MOVED + to:
        if there.store_id != here.store_id or there.state not in (COPYING, ""):
            raise StoreError(f"{source.location} has moved to {to}, and that is not the store that it became")
        return await _finish(source, target, sealer, to)
    _check_target(target, here, there)
    await _stop_use(source, here, to)
    try:
        await prepare()
        await _fill(source, target, sealer, tell)
    except NotStopped:
        await source.turn(MOVING + to, "")
        raise
    return await _finish(source, target, sealer, to)


async def cancel(source: Movable) -> bool:
    """Put a store whose copy was not finished in use again. False if it is in use. `OutOfUse` if it has moved."""
    state = (await source.about()).state
    if not state:
        return False
    if not state.startswith(MOVING):
        raise out_of_use(source.location, state)
    return await source.turn(state, "")


def _check_target(target: Movable, here: About, there: About) -> None:
    if there.state == COPYING:
        if there.store_id != here.store_id:
            raise OutOfUse(f"{target.location} is being filled from another store", "copy to a new place")
    elif there.state:
        raise OutOfUse(str(out_of_use(target.location, there.state)), "copy to a new place")
    elif there.rows:
        raise StoreError(f"{target.location} is not empty; nothing was copied")


async def _stop_use(source: Movable, here: About, to: str) -> None:
    if here.key_id is None:
        raise StoreError(f"{source.location} holds nothing")
    if here.state not in ("", MOVING + to):
        raise out_of_use(source.location, here.state)
    if not here.state and not await source.turn("", MOVING + to):
        raise StoreError(f"{source.location} has just changed; repeat the command")


async def _fill(source: Movable, target: Movable, sealer: Sealer, tell: Callable[[int], object]) -> None:
    begun = await target.fill(
        store_id=source.store_id, key_id=sealer.key_id, commits=await source.changes(), state=COPYING
    )
    if not begun:
        raise StoreError(f"{target.location} is not empty; nothing was copied")
    done = 0
    async for rows in pages(source, ""):
        spending = next((row.name for row in rows if row.spending is not None), None)
        if spending is not None:
            raise NotStopped(
                f"{source.location}: a server is redeeming '{spending}', or ended while it was; let it settle that"
            )
        await target.load(rows)
        done += len(rows)
        tell(done)


async def _finish(source: Movable, target: Movable, sealer: Sealer, to: str) -> Copied:
    """Compare both; then the source has moved, and after that the target comes into use."""
    there = await target.about()
    commits = await source.changes()
    copied = Copied(source.store_id, sum(there.rows.values()), there.commits)
    if not there.state:  # it came into use before somebody could say so, and may have changed since
        return copied
    if (there.store_id, there.key_id, there.commits) != (source.store_id, sealer.key_id, commits):
        raise Damaged(f"{target.location} is another store, or at another commit, than {source.location}")
    await _compare(source, target, sealer)
    state = (await source.about()).state
    if state != MOVED + to and not await source.turn(MOVING + to, MOVED + to):
        raise StoreError(f"{source.location} has just changed; repeat the command")
    if not await target.turn(COPYING, ""):
        raise StoreError(f"{target.location} has just changed; repeat the command")
    return copied


async def _compare(source: Movable, target: Movable, sealer: Sealer) -> None:
    theirs = pages(target, "")
    async for rows in pages(source, ""):
        fault = await asyncio.to_thread(_difference, rows, await anext(theirs, []), sealer)
        if fault:
            raise Damaged(f"{target.location}: {fault}")
    if await anext(theirs, []):
        raise Damaged(f"{target.location} holds more than {source.location}")


def _difference(rows: list[Row], others: list[Row], sealer: Sealer) -> str:
    """What is wrong with `others`, which should be `rows`; each of both is unsealed. Empty: nothing."""
    if [(row.name, row.generation) for row in rows] != [(row.name, row.generation) for row in others]:
        return "it holds other records, or other generations, than were copied"
    for row, other in zip(rows, others, strict=True):
        try:
            plain = [sealer.unseal(each.name, each.generation, each.sealed) for each in (row, other)]
        except (WrongKey, Damaged) as fault:
            return str(fault)
        if plain[0] != plain[1]:
            return f"record {row.name!r} differs from what was copied"
    return ""
