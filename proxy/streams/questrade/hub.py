"""One socket at Questrade and its clients: greeted, given what is theirs, and told when something may be missing.

At the broker a second connection of the same kind ends the first (DOC/streaming), so the clients of one person share
one socket for notifications, and one for quotes that has the symbols of all of them.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from proxy import logs
from proxy.errors import Refusal
from proxy.outbound import Lost
from proxy.relay.frames import Frame, encoded
from proxy.relay.websocket import Echoed, Message
from proxy.streams import codes
from proxy.streams.client import ClientSocket
from proxy.streams.questrade import messages
from proxy.streams.questrade.line import Failed, Line, Opener, Source, refuses_token
from proxy.streams.questrade.messages import MOST_IDS, Quotes
from proxy.streams.questrade.rawjson import Unreadable

RETRY = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before the socket is tried again


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. `tick`: between looks at the token. `linger`: the socket stays without clients for so long, and who
    connects again at once finds it. `last_words`: for what is still under way on a socket that another has followed.
    `give_up`: without a socket, and those who wait are told to. `keep_alive`: without a call; after 30 minutes the
    session ends, and its sockets (DOC/streaming). `keep_trying`: to the next one, if that call failed.
    """

    tick: float = 0.5
    linger: float = 5.0
    last_words: float = 1.0
    give_up: float = 30.0
    keep_alive: float = 25 * 60.0
    keep_trying: float = 60.0


USUAL = Timing()
LOOK = "the broker's socket ended: connect again, and look at your orders"

log = logs.get("streams")


@dataclass(eq=False, slots=True)
class Member:
    """A client inside. `ids` are the symbols of its port; `served`: it has been greeted, and gets what comes."""

    socket: ClientSocket
    ids: frozenset[int]
    served: bool = False

    def push(self, frame: bytes) -> None:
        if not self.socket.push(frame):
            self.socket.end(codes.LIMIT, "took too little for too long")


@dataclass(eq=False, slots=True)
class _Gone:
    """How a socket of the broker's ended."""

    close: Message | None = None
    echoed: bool = False


class Hub:
    """The clients of one person and kind, and their one socket. `over`: nobody may join any more.

    `current` gives a source as it is by the configuration in force.
    """

    def __init__(
        self, source: Source, opener: Opener, current: Callable[[Source], Source], timing: Timing = USUAL
    ) -> None:
        self.source = source
        self._current = current
        self.opener = opener
        self.over = False
        self._members: dict[Member, None] = {}  # in the order in which they came
        self._groups: dict[frozenset[int], dict[Member, None]] = {}  # the same by their symbols
        self._line: Line | None = None
        self._last: dict[int, str] = {}  # the newest quote of each symbol
        self._changed = asyncio.Event()
        self._moving = False
        self._failures = 0
        self._not_before = 0.0
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._empty = 0.0  # since when there is nobody (the loop's clock)

    # -- clients ------------------------------------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """A client is there: it is greeted at once if the socket has its symbols, else when one has."""
        self._members[member] = None
        self._groups.setdefault(member.ids, {})[member] = None
        if not self._welcome(member):
            self._changed.set()

    def leave(self, member: Member) -> None:
        """A client has gone. Its symbols stay as long as the socket has room for others."""
        if self._members.pop(member, self) is self:
            return  # it had been told to before
        self._empty = self._loop.time()
        group = self._groups[member.ids]
        del group[member]
        if not group:
            del self._groups[member.ids]

    def _welcome(self, member: Member) -> bool:
        line = self._line
        if line is None or line.ended is not None or not member.ids <= line.ids:
            return False
        member.served = True
        member.push(encoded(line.greeting))
        known = [self._last[symbol] for symbol in sorted(member.ids) if symbol in self._last]
        if known:  # as the broker begins a stream: with what it knows
            member.push(encoded(messages.together(known)))
        return True

    def _dismiss(self, member: Member, code: int, reason: str, words: str | None = None) -> None:
        self.leave(member)
        if words is not None:
            member.push(encoded(words))
        member.socket.end(code, reason)

    def _dismiss_all(self, code: int, reason: str, *, served: bool = True) -> None:
        for member in [member for member in self._members if member.served or not served]:
            self._dismiss(member, code, reason)

    # -- the socket ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the last client has gone, and a moment longer."""
        code = codes.FAULT
        try:
            async with asyncio.TaskGroup() as group:
                while self._members or self._lingers():
                    self._changed.clear()
                    await self._tend(group)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._timing.tick):
                            await self._changed.wait()
                self._close()
        except asyncio.CancelledError:
            code = codes.STOPPING
            raise
        finally:
            self._close()
            self._dismiss_all(code, codes.MEANINGS[code], served=False)

    def _lingers(self) -> bool:
        there = self._line is not None and self._line.ended is None
        return there and self._loop.time() - self._empty < self._timing.linger

    def _close(self) -> None:
        self.over = True
        if self._line is not None:
            self._line.socket.drop(codes.NORMAL)

    async def _tend(self, group: asyncio.TaskGroup) -> None:
        now = self._loop.time()
        if now < self._not_before:
            return
        try:
            if await self._must_move():
                await self._move(group)
                self._failures = 0
            elif now - self.opener.pulse.last >= self._timing.keep_alive:
                self.opener.pulse.last = now
                _ = group.create_task(self._show_up())
        except Failed as failed:
            self._failed(failed)

    async def _must_move(self) -> bool:
        line = self._line
        if not self._members:
            return False
        if line is None or line.ended is not None or not self._wanted() <= line.ids:
            return True
        try:
            return line.socket.pair.generation < await self.source.relay.generation(self.source.grant)
        except Refusal:
            return False  # the socket that there is goes on as long as it may

    def _wanted(self) -> frozenset[int]:
        return frozenset[int]().union(*self._groups)

    async def _move(self, group: asyncio.TaskGroup) -> None:
        """To a new socket. The old one is read to its end first, so that everything comes once and in order."""
        wanted, old = self._wanted(), self._line
        if len(wanted) > MOST_IDS:
            raise Failed(codes.LIMIT, f"one socket has room for {MOST_IDS} symbols")
        if old is not None and len(wanted | old.ids) <= MOST_IDS:
            wanted |= old.ids  # who comes back must not move everybody again
        self.source = self._current(self.source)
        self._moving = True
        try:
            line = await self.opener.open(self.source, wanted)
        finally:
            self._moving = False
        self._line = line
        if old is not None:
            await self._follow(old, line)
        self._last.clear()
        for member in self._members:
            if not member.served:
                self._welcome(member)
        _ = group.create_task(self._pump(line))

    async def _follow(self, old: Line, line: Line) -> None:
        """The new socket is there. If there was a time without any, say so."""
        lost = None if old.ended is None else self._loop.time() - old.ended
        log.info("a stream goes on over a new socket", grant=self.source.grant, row=self.source.row.id, lost=lost)
        if lost is not None:
            self._missed(lost)
            return
        old.followed, since = True, self._loop.time()
        try:
            async with asyncio.timeout(self._timing.last_words):
                await old.over.wait()
        except TimeoutError:  # the broker feeds both
            line.doubled = old.since
            old.socket.drop(codes.NORMAL)
            if self.source.of_quotes:
                self._say("messages may come twice (the broker's socket was reopened)")
            return
        # The broker ended the old one: nothing came on both, and what is the same again has happened again.
        if not old.whole:
            self._missed(self._loop.time() - since)

    def _missed(self, seconds: float) -> None:
        """Between two sockets something may have been lost.

        Readers of quotes know one message that is no quote: the greeting. All that are known take a second one for the
        beginning of a stream, which it is, and most never connect again when a socket closes (tantock, elislade).
        Notifications are of orders: a client that may have missed one has to look.
        """
        if not self.source.of_quotes:
            self._dismiss_all(codes.AGAIN, LOOK)
            return
        gap = math.ceil(seconds * 10) / 10
        self._say(f"messages may have been missed for {gap:.1f} s (the broker's socket was reopened)")

    def _say(self, words: str) -> None:
        frame = encoded(f'{{"success":true,"message":"bearerd: {words}"}}')
        for member in self._members:
            if member.served:
                member.push(frame)

    def _failed(self, failed: Failed) -> None:
        """There is no new socket: tell those who have none, and those who have waited long enough."""
        now, line = self._loop.time(), self._line
        log.warning(
            "a stream could not be opened", grant=self.source.grant, row=self.source.row.id, reason=failed.reason
        )
        for member in list(self._members):
            has_one = line is not None and line.ended is None and member.ids <= line.ids
            waits = line is not None and line.ended is not None and now - line.ended < self._timing.give_up
            if not member.served or not (has_one or waits):
                self._dismiss(member, failed.code, failed.reason, failed.words)
        self._not_before = now + RETRY[min(self._failures, len(RETRY) - 1)]
        self._failures += 1

    async def _show_up(self) -> None:
        try:
            await self.opener.show_up(self.source)
        except Failed as failed:
            log.warning("a session could not be kept alive", grant=self.source.grant, reason=failed.reason)
            self.opener.pulse.last = self._loop.time() - self._timing.keep_alive + self._timing.keep_trying

    # -- messages -----------------------------------------------------------------------------------------------------

    async def _pump(self, line: Line) -> None:
        """What comes on a socket, until it ends."""
        gone = _Gone()
        try:
            while gone.close is None:
                message = await line.socket.receive()
                match message.kind:
                    case "ping":
                        await line.socket.pong(message.payload)
                    case "close":
                        gone.close = message
                        line.whole = True
                    case "text" if refuses_token(str(message.data)):
                        break  # not the client's token: the next socket has a newer one
                    case "text":
                        self._hear(line, str(message.data))
                    case "binary" if not self.source.of_quotes:
                        self._give(message.data)
                    case _:  # quotes are text; a pong says nothing
                        pass
        except Lost:
            pass
        except Echoed:
            gone.echoed = True
        finally:
            line.ended = self._loop.time()
            line.over.set()
            line.socket.drop()
        self._ended(line, gone)

    def _hear(self, line: Line, text: str) -> None:
        if line.heard_before(text):
            return
        if not self.source.of_quotes:
            self._give(text)
            return
        try:
            found = messages.read(text)
        except Unreadable:
            self._unreadable(text)
            return
        if found is None:
            self._give(text)
        else:
            self._last.update(found.items)
            self._share(found)

    def _share(self, quotes: Quotes) -> None:
        """Give each client its own."""
        for ids, group in list(self._groups.items()):
            if (own := quotes.about(ids)) is None:
                continue
            frame = encoded(own)
            for member in list(group):
                if member.served:
                    member.push(frame)

    def _give(self, message: Frame) -> None:
        frame = encoded(message)
        for member in list(self._members):
            if member.served:
                member.push(frame)

    def _unreadable(self, text: str) -> None:
        """It may be somebody else's; what speaks of no quotes is nobody's in particular."""
        everybodys = self._line is not None and all(ids == self._line.ids for ids in self._groups)
        if "quotes" not in text.casefold() or everybodys:
            self._give(text)
            return
        log.error("a message of the broker could not be told apart", grant=self.source.grant)
        self._dismiss_all(codes.FAULT, "a message of the broker could not be told apart")

    def _ended(self, line: Line, gone: _Gone) -> None:
        if gone.echoed:
            log.error("a message held a credential and was withheld", grant=self.source.grant)
            self._dismiss_all(codes.FAULT, "the broker's message held our credential and was withheld")
        elif not (line.followed or self.source.of_quotes):
            close = gone.close if not self._moving else None  # else it is our own second connection that has ended it
            code, reason = (close.code, close.reason) if close else (None, "")
            self._dismiss_all(codes.passed_on(code), reason or LOOK)
        self._changed.set()
