"""The process that is killed: it opens custody as a server does, logs in, and at a word rotates its token, say.

It stands alone, started by its path (see `yard.py`), and forks for each order that it reads, so that a run begins with
everything imported. What a run has come to is told by lines of JSON on stdout, each written at once: what such a line
says has been seen by somebody else before a kill.

`ready` with the threads and the generation · `posting` · `published` · `committed` (the slot is free, too), or
`acknowledged` what was asked for · `over`, once nothing more comes · `ended` with the exit status, by the parent.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from proxy import logs, settings
from proxy.assembly import endpoint_of
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.custody import Custody
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.store.keys import Source
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import State
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import RawAnswer, Refresh, TokenEndpoint, Wish

GRANT = "questrade"
KEY = "file:master.key"
CLIENT = "bot"
EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.yaml"
PR_SET_PTRACER = 0x59616D61
ANYBODY = ctypes.c_ulong(-1)


@dataclass(frozen=True, slots=True)
class Telling:
    """A token endpoint that says when a post begins."""

    endpoint: TokenEndpoint
    posting: Callable[[], None]

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        self.posting()
        return await self.endpoint.ask(wish, arrived)


@dataclass(frozen=True, slots=True)
class House:
    """What a server has open. The keeper is not started yet."""

    custody: Custody
    keeper: Keeper


@asynccontextmanager
async def opened(directory: Path, posting: Callable[[], None] = lambda: None) -> AsyncIterator[House]:
    """Raises what a server would not start with. `posting` is called as a token request begins."""
    found = await asyncio.to_thread(settings.read, directory / "config.yaml", {})
    custody = await Custody.open(found.config, Source(KEY, directory))
    grant = found.grants[GRANT]
    keeper = Keeper(
        GRANT,
        broker=grant.broker,
        environment=grant.environment,
        login=grant.login,
        vault=custody.vault,
        journal=custody.journal,
        endpoint=Telling(endpoint_of(found, grant), posting),
        clock=SystemClock(),
        quarantine=custody.quarantine,
        jitter=lambda: 0.02,  # a try that failed is soon made again
    )
    try:
        yield House(custody, keeper)
    finally:
        await keeper.close()
        await custody.close()


def tell(*words: object) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def threads() -> dict[str, int]:
    """Thread ids of the system by what they do: `main`, `worker`, `sync`, `sqlite`."""
    found = {thread.name.partition("_")[0]: thread.native_id or 0 for thread in threading.enumerate()}
    del found["MainThread"]
    found["main"] = os.getpid()  # Python still has the number from before the fork
    return found


async def act(order: dict[str, Any]) -> None:
    # One worker: which thread makes a call does then not depend on how fast the one before was.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, "worker"))
    if order["act"] == "start":
        await start(Path(order["directory"]))
    async with opened(Path(order["directory"]), posting=lambda: tell("posting")) as house:
        await house.keeper.start(house.custody.journal.found())
        first, second = (Refresh(Secret(token)) for token in order["tokens"])
        await house.keeper.login(first, "login-1")
        if order["act"] == "adopt":
            await be_refused(house)
        tell("ready", threads(), house.keeper.standing().generation)
        os.read(0, 1)  # the word to go: an empty line
        with contextlib.suppress(LoginFailed, StoreError, TimeoutError):
            async with asyncio.timeout(order["seconds"]):
                await ACTS[order["act"]](house, second)
        standing = house.keeper.standing()
        tell("over", standing.state.value, standing.reason)
        os._exit(0)  # nothing is closed: what is there now is all that a kill would leave


async def start(directory: Path) -> NoReturn:
    """A start that finds an answer in the journal, and adopts it."""
    tell("ready", {"main": os.getpid()}, 0)
    os.read(0, 1)
    async with opened(directory) as house:
        await house.keeper.start(house.custody.journal.found())
        if house.keeper.standing().state is State.FRESH:
            tell("acknowledged")
        tell("over", house.keeper.standing().state.value)
        os._exit(0)


async def rotate(house: House, _token: Refresh) -> None:
    """One rotation; after a fault, what the keeper makes of it in a short time."""
    keeper, published = house.keeper, False
    generation = keeper.standing().generation
    while True:
        standing = keeper.standing()
        if standing.state is State.NEEDS_LOGIN:
            return
        if not published:
            with contextlib.suppress(Refusal):
                pair = await keeper.renew(generation)
                assert pair is not None
                tell("published", pair.generation)
                keeper.give_back()
                published = True
        elif standing.state is State.FRESH and not house.custody.journal.slots_in_use:
            tell("committed", standing.generation)
            return
        await asyncio.sleep(0.002)


async def login(house: House, token: Refresh) -> None:
    await house.keeper.login(token, "login-2")
    tell("acknowledged")


async def be_refused(house: House) -> None:
    """Have the broker refuse a good token once, as one does that blocks a User-Agent."""
    tell("refuse")
    os.read(0, 1)
    with contextlib.suppress(Refusal):
        await house.keeper.renew(house.keeper.standing().generation)
    assert house.keeper.standing().state is State.NEEDS_LOGIN


async def adopt(house: House, _token: Refresh) -> None:
    if (await house.keeper.adopt()).state is State.FRESH:
        tell("acknowledged")


async def revoke(house: House, _token: Refresh) -> None:
    await house.keeper.forget()
    tell("acknowledged")


async def add_client(house: House, _token: Refresh) -> None:
    await ClientKeys(house.custody.vault, SystemClock()).add(CLIENT)
    tell("acknowledged")


ACTS = {"rotate": rotate, "login": login, "adopt": adopt, "revoke": revoke, "add-client": add_client}


def run(order: dict[str, Any]) -> None:
    """Never returns."""
    try:
        # Linux with Yama lets only ancestors trace a process, unless it says otherwise.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANYBODY)
        logs.setup("json", "info", sys.stderr)
        asyncio.run(act(order))
    except BaseException:  # noqa: BLE001  a child that returned would go on with its parent's work
        traceback.print_exc()
    os._exit(1)


def main() -> None:
    """An order a line, read byte by byte, so that the word to go is left for the child."""
    settings.read(EXAMPLE, {"HOME": "/home/somebody"})  # builds what reads a configuration, once for all children
    with open(0, "rb", buffering=0) as orders:
        for line in orders:
            if not line.strip():
                continue  # the word to go that a killed child has left
            child = os.fork()
            if child == 0:
                run(json.loads(line))
            tell("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
