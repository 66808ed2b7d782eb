"""Alpaca's market data for many clients over one socket: the broker allows an account one connection to a feed.

A hub holds the socket and knows who listens to what. The broker is asked for the union, each client gets exactly its
own. When the socket is lost it is opened again with a fresh token, asked for the same, and every client that listens is
told for how long messages may have been missed.
"""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from proxy import logs
from proxy.errors import Refusal
from proxy.outbound import Lost
from proxy.relay.dialling import Handshake, HandshakeRefused
from proxy.relay.echo import Echoed
from proxy.relay.http import Relay
from proxy.streams import codes
from proxy.streams.alpaca.changes import Changes
from proxy.streams.alpaca.feed import Feed, Rejected
from proxy.streams.alpaca.guest import Guest
from proxy.streams.alpaca.messages import Change, Control, Piece, error
from proxy.streams.alpaca.reopening import NO_PLACE, OF_THE_TOKEN, Attempts, Hopeless, Pace

HELD = 8 * 1024 * 1024  # bytes that may come before everything is confirmed again

_TOO_SLOW = 407

log = logs.get("streams")


@dataclass(frozen=True, slots=True)
class Line:
    """How the broker's socket is opened."""

    relay: Relay
    handshake: Handshake
    grant: str


class Hub:
    """One socket and its guests. `line`: how it is opened next; it may change.

    `ready`: it is open, and everybody's subscriptions stand. `ended`: why there will be none any more.
    """

    def __init__(self, line: Line, pace: Pace, *, jitter: Callable[[], float] = random.random) -> None:
        self.line = line
        self.pace = pace
        self._jitter = jitter
        self.ready = False
        self.ended: Hopeless | None = None
        self._loop = asyncio.get_running_loop()
        self._changes = Changes(self._flush)
        self._guests = self._changes.guests
        self._fan = self._changes.fan
        self._stay: asyncio.Timeout | None = None
        # What has come and is not delivered yet. It is held back until everything is confirmed after a loss.
        self._pieces: list[Piece] = []
        self._bytes = 0
        self._flushing = self._holding = False
        self._missing: float | None = None  # since when messages may be missing
        self._stale: Rejected | None = None  # a token that the broker has refused

    # -- guests -------------------------------------------------------------------------------------------------------

    def join(self, guest: Guest) -> None:
        """A client that has said who it is."""
        if self.ended is not None:
            guest.refuse(self.ended.message, self.ended.code, self.ended.reason)
            return
        self._changes.join(guest)
        self._linger()
        if self.ready:
            guest.welcomed()

    def leave(self, guest: Guest) -> None:
        """It has gone. Harmless twice."""
        if self._changes.leave(guest):
            self._linger()

    def ask(self, guest: Guest, change: Change) -> None:
        """Change what a guest listens to, after all changes that were asked for before."""
        self._changes.ask(guest, change)

    def _linger(self) -> None:
        """Without guests the socket stays for a moment."""
        if self._stay is not None and not self._stay.expired():
            self._stay.reschedule(None if self._guests else self._loop.time() + self.pace.linger)

    # -- the life of the socket ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold the socket as long as there are guests, and a moment longer. Raises nothing but cancellation."""
        try:
            while self._guests:
                try:
                    async with asyncio.timeout(None) as self._stay:
                        await self._keep_open()
                except TimeoutError:  # nobody was left; meanwhile somebody may have come
                    self._start_afresh()
                finally:
                    self._stay = None
        except Hopeless as hopeless:
            log.warning("a data socket was given up", grant=self.line.grant, reason=hopeless.reason)
            self._dismiss(hopeless)
            await asyncio.sleep(self.pace.cool)
        except Exception as fault:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            log.error("a hub failed", grant=self.line.grant, fault=type(fault).__name__)
            self._dismiss(Hopeless(error(500), codes.FAULT, codes.MEANINGS[codes.FAULT]))
        finally:
            self._dismiss(Hopeless(None, codes.STOPPING, codes.MEANINGS[codes.STOPPING]))

    def _dismiss(self, hopeless: Hopeless) -> None:
        self.ended = self.ended or hopeless
        for guest in tuple(self._guests):
            guest.refuse(hopeless.message, hopeless.code, hopeless.reason)
            self.leave(guest)

    def _start_afresh(self) -> None:
        self._missing = self._stale = None
        self._holding = False
        self._bytes = 0
        self._pieces.clear()
        self._changes.forget()

    async def _keep_open(self) -> None:
        story = Attempts(self.pace, self._loop.time(), opened=False)
        while True:
            feed = await self._open(story)
            began = self._loop.time()
            try:
                await self._use(feed)
            except Lost as lost:
                log.warning("a data socket was lost", grant=self.line.grant, reason=str(lost))
            except Rejected as rejected:
                log.warning("the broker refused the token of a data socket", grant=self.line.grant)
                self._stale = rejected
            finally:
                self.ready = False
                feed.socket.drop()
            self._lose(feed)
            if not self._guests:
                return
            story.lost(began, self._loop.time())
            if self._stale is not None:
                story.failed(self._stale, self._loop.time())

    def _lose(self, feed: Feed) -> None:
        """The socket is gone. What came before is still delivered, unless it stands behind a gap itself."""
        if self._holding:
            self._pieces.clear()
            self._bytes = 0
        else:
            with suppress(Lost):
                self._flush()
        if self._missing is None:
            self._missing = feed.heard
        self._holding = True

    async def _open(self, story: Attempts) -> Feed:
        """Raises `Hopeless`."""
        while True:
            await asyncio.sleep(story.pause(self._jitter()))
            line, stale = self.line, self._stale
            try:
                if stale is not None:
                    if not await line.relay.renewed(stale.socket, line.grant):
                        raise stale
                    self._stale = None
                feed = await self._dial(line)
            except Rejected as rejected:
                story.renewed = story.renewed or rejected is stale
                if story.failed(rejected, self._loop.time()):
                    self._stale = rejected
            except (Refusal, HandshakeRefused, Lost, Echoed) as failure:
                story.failed(failure, self._loop.time())
            else:
                story.succeeded()
                return feed

    async def _dial(self, line: Line) -> Feed:
        opening, answer = self.pace.opening, self.pace.answer
        return await Feed.open(
            line.relay, line.handshake, line.grant, self._changes.form, opening=opening, answer=answer
        )

    async def _use(self, feed: Feed) -> None:
        """Raises what ends it.

        The group hears of no failure: to it that would be a cancellation, which Python 3.11 counts and never takes
        back, and then neither the end of `_stay` nor a stop of the server could be told from it.
        """
        ended: asyncio.Future[Exception] = self._loop.create_future()
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(_told(ended, work)) for work in (self._read(feed), self._resume(feed))]
            try:
                await ended
            finally:
                for task in both:
                    task.cancel()
        raise ended.result()

    # -- what comes ---------------------------------------------------------------------------------------------------

    async def _read(self, feed: Feed) -> None:
        try:
            while True:
                for message in await feed.receive():
                    if isinstance(message, Piece):
                        self._pieces.append(message)
                        self._bytes += len(message.packed)
                    else:
                        self._flush()
                        self._heed(feed, message)
                if self._bytes > HELD:
                    raise Lost("the broker sent too much before it confirmed the subscriptions")
                if self._pieces and not self._flushing:
                    # What has arrived together goes on together: that is one frame for each client, not many.
                    self._flushing = True
                    self._loop.call_soon(self._deliver, feed)
        except Echoed:
            log.error("a frame held a credential and was withheld", grant=self.line.grant)
            raise Hopeless(error(500), codes.FAULT, codes.MEANINGS[codes.FAULT]) from None

    def _heed(self, feed: Feed, message: Control) -> None:
        """A message about the socket itself."""
        if message["T"] == "subscription":
            feed.confirm(message)
        elif message["T"] == "error":
            code = message.get("code")
            if code in OF_THE_TOKEN:
                raise Rejected(message, feed.socket)
            if code in (NO_PLACE, _TOO_SLOW):
                raise Lost(f"the broker said {code}")
            if not feed.refuse(message):
                for guest in tuple(self._guests):
                    if guest.welcome:
                        guest.interrupt(message)

    def _deliver(self, feed: Feed) -> None:
        self._flushing = False
        try:
            self._flush()
        except Lost:
            feed.socket.drop()

    def _flush(self) -> None:
        """Raises `Lost`: what is not delivered is a gap, and that is said."""
        if self._pieces and not self._holding:
            pieces, self._pieces, self._bytes = self._pieces, [], 0
            try:
                self._fan.deliver(pieces)
            except Exception as fault:  # noqa: BLE001 - one odd message must not be the end of everybody
                log.error("messages could not be delivered", grant=self.line.grant, fault=type(fault).__name__)
                raise Lost("messages could not be delivered") from None

    async def _resume(self, feed: Feed) -> None:
        """Ask for what everybody listens to, tell those who do what they may have missed, and go on."""
        if (refused := await self._changes.restore(feed, self._resumed)) is not None:
            raise Hopeless(refused, codes.AGAIN, "the broker does not take the subscriptions any more")
        await self._changes.carry_out(feed)

    def _resumed(self) -> None:
        self.ready = True
        if self._missing is not None:
            gap = math.ceil((self._loop.time() - self._missing) * 10) / 10
            said = f"bearerd: messages may have been missed for {gap:.1f} s (the broker's socket was reopened)"
            for guest in tuple(self._guests):
                if guest.welcome and any(self._fan.own(guest).values()):
                    guest.interrupt(error(500, said))
        self._missing, self._holding = None, False
        for guest in tuple(self._guests):
            guest.welcomed()
        self._flush()


async def _told(ended: "asyncio.Future[Exception]", work: Coroutine[Any, Any, None]) -> None:
    """Do it; the first that fails says so."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
        if not ended.done():
            ended.set_result(error)
