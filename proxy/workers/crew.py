"""The workers, as custody sees them: what counts here is told to all of them, and what they send comes in here.

A change is told at once, in the order in which changes happen. `settle` returns when every worker goes by all of them;
one that does not say so in time is killed, so that nobody goes by less than what a command has promised.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from proxy import logs
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock
from proxy.config import Address
from proxy.custody import Custody
from proxy.doors import Doors
from proxy.gateway import Gateway
from proxy.keepers import Keepers
from proxy.listener import Entry, Given
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.tokens.keeper import Keeper
from proxy.workers.arrivals import Arrivals
from proxy.workers.hand import KEYS_AT_ONCE, Hand
from proxy.workers.link import Link, Message
from proxy.workers.parcels import blind
from proxy.workers.ports import Ports
from proxy.workers.pulse import Pulse

PATIENCE = 5.0  # seconds for a worker to take over a change; then it is killed
START = 30.0  # seconds for the first workers to be there
SPARE = 0.25  # seconds between two looks at what is left of budgets
BURIAL = 2.0  # seconds for the supervisor to say that a killed one has ended

log = logs.get("workers")

Command = Callable[..., Awaitable[dict[str, Any]]]
Holding = Callable[..., AbstractAsyncContextManager[dict[str, Any]]]


class Led(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    clock: Clock
    custody: Custody
    gateway: Gateway
    metrics: Metrics
    keepers: Keepers
    keys: ClientKeys
    doors: Doors


class Crew:
    """All workers. `begin()` before a door opens, then `ready()` once all is in force; `run()` beside it all.

    `control` is our end of the link to the supervisor; `orphaned` is told when that has gone. `patience`:
    seconds for a worker to take over a change.
    """

    def __init__(self, control: socket.socket, orphaned: Callable[[], None]) -> None:
        self.patience = PATIENCE
        self.pid = 0  # the supervisor's: whom signals are for
        self.every = 0.0  # seconds between signs of life that it waits for; 0: it does not
        self._control = Link(control, self._told, orphaned)
        self._pulse = Pulse(self._control)
        self._app: Led
        self._arrivals: Arrivals
        self._ports = Ports(self._control.say)
        self._hands: dict[int, Hand] = {}
        self._count = 0
        self._began = asyncio.Event()
        self._came = asyncio.Event()  # a worker has come, or has said that it goes by what it was told
        self._serving = False  # there is something to be told
        self._leaving = False  # a stop is near
        self._number = 0  # of the last `sync`
        self._changed: set[str] = set()  # digests of keys that are to be told
        self._work: asyncio.Queue[Coroutine[Any, Any, None]] = asyncio.Queue()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def begin(self, app: Led) -> None:
        """Hear from the supervisor what there is."""
        self._app = app
        self._arrivals = Arrivals(app.doors)
        self._control.open()
        async with asyncio.timeout(START):
            await self._began.wait()

    async def run(self) -> None:
        """Do what workers ask for, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_spare())
            while True:
                group.create_task(_guarded(await self._work.get()))

    async def ready(self) -> None:
        """All is in force here: tell the workers, and return when they serve. `OSError` if they do not come."""
        self._serving = True
        self._app.keys.changed = self._key_changed
        for hand in list(self._hands.values()):
            hand.link.open()
            self._tell_all(hand)
        try:
            async with asyncio.timeout(START):
                while sum(hand.synced > 0 for hand in self._hands.values()) < self._count:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            if not any(hand.synced for hand in self._hands.values()):
                raise OSError(errno.ETIMEDOUT, "the workers do not start; the log says why") from None
            log.error("not all workers have started", there=len(self._hands), wanted=self._count)
        self._ports.tidy()
        self._control.say("ready")

    @property
    def listens(self) -> bool:
        """Whether somebody does; see `notify.Manager`."""
        return True

    def tell(self, **fields: str) -> None:
        """To the service manager, which knows the supervisor only. See `notify.Manager`."""
        self._control.say("tell", fields)

    def leave(self) -> None:
        """Have the workers end each connection with its next answer: a stop is near."""
        self._leaving = True
        for hand in self._hands.values():
            hand.link.say("leave")

    def drain(self, grace: float) -> None:
        """Have the workers accept nobody any more, and end what they serve within `grace` seconds."""
        for hand in self._hands.values():
            hand.link.say("drain", {"grace": grace})

    async def drained(self, grace: float) -> None:
        """Return when they have, or after `grace` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for hand in list(self._hands.values()):
                    await hand.drained.wait()

    def close(self) -> None:
        """Hang up."""
        self._control.close()
        for hand in self._hands.values():
            hand.link.close()

    def told(self) -> list[dict[str, Any]]:
        """The workers as plain data, for `status`."""
        metrics = self._app.metrics
        return [hand.told(metrics.in_flight_of(hand.name)) for _, hand in sorted(self._hands.items())]

    # -- what the supervisor says -------------------------------------------------------------------------------------

    def _told(self, message: Message) -> None:
        match message.kind:
            case "begin":
                self._ports.inherit(dict(zip(message.data["sockets"], message.files, strict=True)))
                self._count, self.pid = message.data["count"], message.data["pid"]
                self.every = message.data["every"]
                self._pulse.start(message.data["alive"])
                self._began.set()
            case "worker":
                who = message.data
                self._welcome(who, socket.socket(fileno=message.files[0]))
            case "gone":
                hand = self._hands.get(message.data["number"])
                if hand is not None and hand.serial == message.data["serial"]:
                    self._lose(hand)
            case _:
                pass

    def _welcome(self, who: Mapping[str, Any], end: socket.socket) -> None:
        number, serial = who["number"], who["serial"]
        before = self._hands.get(number)
        if before is not None:
            self._lose(before)

        def heard(message: Message) -> None:
            self._heard(hand, message)

        def lost() -> None:
            # It may live on and go by what it was told last: only the supervisor knows when it has ended.
            hand.drained.set()
            if not self._control.say("kill", {"number": number, "serial": serial}):
                self._lose(hand)  # that has gone, and all end

        hand = Hand(number, serial, who["pid"], who["since"], Link(end, heard, lost), self._app.keepers.of)
        self._hands[number] = hand
        if self._serving:  # else what it asks waits in the link
            hand.link.open()
            self._tell_all(hand)

    def _lose(self, hand: Hand) -> None:
        if self._hands.get(hand.number) is hand:
            del self._hands[hand.number]
            self._app.metrics.worker_ended()
        hand.link.close()
        hand.lost()
        self._app.metrics.forget(hand.name)
        self._came.set()

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell_all(self, hand: Hand) -> None:
        """Everything, to one that knows nothing, or what another custody has told it."""
        hand.link.say("anew")
        if self._leaving:
            hand.link.say("leave")
        self._tell_keys([hand], self._app.keys.digests)
        for name in self._ports.names:
            self._tell_socket(hand, name)
        for keeper in self._app.keepers.values():
            hand.pair(keeper, always=True)
        self._tell_policy([hand], blind(self._app.settings))

    def _tell_policy(self, hands: Iterable[Hand], parcel: bytes) -> None:
        self._number += 1
        for hand in hands:
            hand.link.say("policy", {"count": self._count}, blob=parcel)
            hand.link.say("sync", self._number)

    def policy_changed(self) -> None:
        """After a reload: pairs as they may be lent now, and the policy."""
        for hand in self._hands.values():
            for keeper in self._app.keepers.values():
                if not hand.waits_for(keeper.name):  # else its calls would count as over
                    hand.pair(keeper, always=True)
        self._tell_policy(self._hands.values(), blind(self._app.settings))

    def _key_changed(self, digest: str) -> None:
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._tell_changed)
        self._changed.add(digest)

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, set()
        if changed:
            self._tell_keys(self._hands.values(), changed)

    def _tell_keys(self, hands: Iterable[Hand], digests: Iterable[str]) -> None:
        keys, hands, digests = self._app.keys, list(hands), list(digests)
        for start in range(0, len(digests), KEYS_AT_ONCE):
            told = {
                digest: [keys.digests.get(digest), keys.bindings.get(digest), keys.expiries.get(digest)]
                for digest in digests[start : start + KEYS_AT_ONCE]
            }
            for hand in hands:
                hand.link.say("keys", told)

    def follow(self, keeper: Keeper) -> None:
        """Tell workers of this keeper's pairs from now on."""

        def closing() -> None:
            for hand in self._hands.values():
                hand.hold(keeper)

        def opened() -> None:
            for hand in self._hands.values():
                hand.pair(keeper)

        keeper.watched(closing, opened)

    async def _tell_spare(self) -> None:
        """Say what is left of budgets: workers go on with a part of it if we die."""
        while True:
            await asyncio.sleep(SPARE)
            found = [list(each) for each in self._app.gateway.pacing.spare()]
            for hand in self._hands.values():
                hand.tell_spare(found)

    async def settle(self) -> None:
        """Return when all workers go by what has been told so far. One that does not in time is killed."""
        self._tell_changed()
        self._number += 1
        number, hands = self._number, list(self._hands.values())
        for hand in hands:
            hand.link.say("sync", number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                while any(hand.synced < number and not hand.gone.is_set() for hand in hands):
                    self._came.clear()
                    await self._came.wait()
        for hand in hands:
            if hand.synced < number and not hand.gone.is_set():
                await self._kill(hand)

    async def _kill(self, hand: Hand) -> None:
        log.error("a worker takes nothing over and is killed", worker=hand.number)
        self._control.say("kill", {"number": hand.number, "serial": hand.serial})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BURIAL):
                await hand.gone.wait()

    def settled(self, commands: Mapping[str, Command]) -> dict[str, Command]:
        """The same commands, each answered only when the workers go by what it has changed."""

        async def carry_out(command: Command, *given: Any) -> dict[str, Any]:
            try:
                return await command(*given)
            finally:
                await self.settle()

        return {name: partial(carry_out, command) for name, command in commands.items()}

    def settled_holding(self, holding: Mapping[str, Holding]) -> dict[str, Holding]:
        """The same of what lasts as long as its caller."""

        @asynccontextmanager
        async def hold(block: Holding, *given: Any) -> Any:
            async with block(*given) as answer:
                await self.settle()
                yield answer

        return {name: partial(hold, block) for name, block in holding.items()}

    async def socket_for(self, name: str, address: Address, entry: Entry) -> Given:
        """The listening sockets of a door at which workers accept. `OSError` names the address."""
        given = await self._ports.of_door(name, address, entry, self._count)
        if self._serving:
            for hand in self._hands.values():
                self._tell_socket(hand, name)
        return replace(given, closed=partial(self._closed, name, given.closed))

    def _closed(self, name: str, close: Callable[[], None]) -> None:
        close()
        for hand in self._hands.values():
            hand.link.say("closed", name)

    def _tell_socket(self, hand: Hand, name: str) -> None:
        hand.link.say("socket", name, files=[self._ports.one_of(name, hand.number)])

    async def own_socket(self, address: Address) -> Given:
        """The listening socket of the console: it stays open while one custody follows another. `OSError`."""
        return await self._ports.own(address)

    # -- what workers say ---------------------------------------------------------------------------------------------

    def _heard(self, hand: Hand, message: Message) -> None:
        match message.kind:
            case "connection":
                self._arrivals.take(hand.link, message, self._work.put_nowait)
            case "ask":
                self._work.put_nowait(hand.answer(message.data, self._app.gateway.pacing))
            case "report":
                self._report(hand, message.data, message.blob.decode())
            case "synced":
                hand.synced = max(hand.synced, message.data)
                self._came.set()
            case "held":
                hand.held(message.data["grant"], message.data["question"])
            case "drained":
                hand.drained.set()
            case _:
                pass

    def _report(self, hand: Hand, told: dict[str, Any], records: str) -> None:
        """What a worker has counted and used, and its records, a line each."""
        app = self._app
        now = app.clock.now()
        for text in records.split("\n") if records else ():
            app.custody.trail.note(text, now.wall)
        if (counted := told.get("metrics")) is not None:
            app.metrics.absorb(hand.name, counted)
        for mount, (calls, denied, last) in told.get("tallies", {}).items():
            tally = app.gateway.serving.tallies[mount]
            tally.calls, tally.denied = tally.calls + calls, tally.denied + denied
            tally.last = max(tally.last or 0.0, last)
        uses = app.keys.last_use.uses
        for noted, there in ((told.get("keys", {}), uses.keys), (told.get("clients", {}), uses.clients)):
            for name, moment in noted.items():
                there[name] = max(moment, there.get(name, 0.0))
        if (tracing := app.gateway.tracing) is not None:
            tracing.spans.heard(told.get("spans", ()))
        for each in told.get("turns", ()):
            hand.settle(each, now)
        if told.get("used") or told.get("accepted"):
            self._work.put_nowait(hand.used(told.get("used", []), told.get("accepted", [])))


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """One worker's question must not end the answers to all others."""
    try:
        await work
    except Exception as error:  # noqa: BLE001
        log.error("what a worker asked for failed", error=type(error).__name__)
