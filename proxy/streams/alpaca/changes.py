"""What the clients of a hub listen to, and how the broker is asked for it: one change after the other.

The broker has one set for all; each client has its own, and changes nobody else's.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from proxy.streams.alpaca.fan import Fan
from proxy.streams.alpaca.feed import Feed
from proxy.streams.alpaca.guest import Guest
from proxy.streams.alpaca.messages import Change, Control, Form, Wanted, error

TRIES = 3  # sockets on which a change is tried
TOGETHER = 100  # changes in one request
MOST = 10_000  # subscriptions of one client


class Changes:
    """The guests, what each listens to (`fan`), and what is still to be asked. `flush` delivers what has come."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self.fan = Fan()
        self.form = Form()
        self.guests: dict[Guest, None] = {}
        self._flush = flush
        self._asked: deque[tuple[Guest, Change]] = deque()
        self._tries = 0  # of the first of them
        self._alone = 0  # so many are asked one by one: the broker has refused them together
        self._untidy = False
        self._work = asyncio.Event()

    def join(self, guest: Guest) -> None:
        """A client that listens to nothing yet."""
        self.guests[guest] = None
        self.fan.add(guest)

    def leave(self, guest: Guest) -> bool:
        """It has gone; False if it had before."""
        if guest not in self.guests:
            return False
        del self.guests[guest]
        self.fan.remove(guest)
        self._untidy = True
        self._work.set()
        return True

    def ask(self, guest: Guest, change: Change) -> None:
        """Change what a guest listens to, after all changes that were asked for before."""
        self._asked.append((guest, change))
        self._work.set()

    def forget(self) -> None:
        """What was asked by those who have gone is done with."""
        self._asked = deque(asked for asked in self._asked if asked[0] in self.guests)
        self._tries = self._alone = 0

    async def restore(self, feed: Feed, done: Callable[[], None]) -> Control | None:
        """Ask a new socket for what everybody listens to; the broker's error if it says no. Raises `Lost`."""
        union = feed.lacks(self.fan.union())
        if union:
            return await feed.change(Change(add=True, wanted=union), done)
        done()
        return None

    async def carry_out(self, feed: Feed) -> None:
        """All that is asked, for ever. What was under way when a socket was lost is asked again. Raises `Lost`."""
        while True:
            self._work.clear()
            while self._asked:
                await self._next(feed)
                await asyncio.sleep(0)  # what asks the broker nothing waits for nothing, and others want to go on
            if self._untidy and self.guests:
                self._untidy = False
                if surplus := feed.surplus(self.fan.union()):
                    await feed.change(Change(add=False, wanted=surplus), _nothing)
            if not self._asked:
                await self._work.wait()

    async def _next(self, feed: Feed) -> None:
        guest, change = self._asked[0]
        self._tries += 1
        if guest not in self.guests or guest.over:
            self._settle()
        elif self._tries > TRIES:
            self._settle()
            guest.answered(error(500))
        elif not change.add:
            await self._unsubscribe(feed, guest, change.wanted)
        elif self.fan.size(guest, change.wanted) > MOST:
            self._settle()
            guest.answered(error(405))
        else:
            await self._subscribe(feed, self._together())

    def _settle(self, count: int = 1) -> None:
        """The first `count` changes are done with. Before they are answered: the socket may be lost any moment, and
        what is asked again is answered again.
        """
        for _ in range(count):
            self._asked.popleft()
        self._alone = max(0, self._alone - count)
        self._tries = 0

    def _together(self) -> list[tuple[Guest, Wanted]]:
        """The first change, and those behind it that can be asked in the same request: a thousand clients that come at
        once must not wait for a thousand answers. Each is of another guest, and only adds.
        """
        batch: dict[Guest, Wanted] = {}
        for guest, change in self._asked:
            full = len(batch) >= (1 if self._alone or self._tries > 1 else TOGETHER)
            if full or not change.add or guest in batch or guest not in self.guests:
                break
            if self.fan.size(guest, change.wanted) > MOST:
                break
            batch[guest] = change.wanted
        return list(batch.items())

    async def _subscribe(self, feed: Feed, asking: list[tuple[Guest, Wanted]]) -> None:
        """Ask for all of these in one. If the broker refuses that, each has to be asked alone."""
        lacking: dict[str, dict[str, None]] = {}
        for _, wanted in asking:
            for channel, symbols in feed.lacks(wanted).items():
                lacking.setdefault(channel, {}).update(dict.fromkeys(symbols))
        listen = partial(self._listen, feed, asking)
        if not lacking and self.form.known:
            self._flush()
            listen()
            return
        refused = await feed.change(Change(add=True, wanted={name: list(own) for name, own in lacking.items()}), listen)
        if refused is None:
            return
        self._untidy = True  # a part of it may have been taken
        if len(asking) > 1:
            self._alone, self._tries = len(asking), 0
        else:
            self._settle()
            asking[0][0].answered(refused)

    def _listen(self, feed: Feed, asking: list[tuple[Guest, Wanted]]) -> None:
        """The broker has confirmed it: from the next message on these guests hear."""
        self._settle(len(asking))
        for guest, wanted in asking:
            if guest in self.guests:
                self.fan.listen(guest, wanted)
                guest.answered(self.form.confirmation(self.fan.own(guest), feed.confirmed))
            else:
                self._untidy = True

    async def _unsubscribe(self, feed: Feed, guest: Guest, wanted: Wanted) -> None:
        if not self.form.known:  # nobody has subscribed yet, and the broker's form of an empty set is not known
            await feed.change(Change(add=False, wanted={}), _nothing)
        self._flush()
        self._settle()
        if guest in self.guests:
            self.fan.unlisten(guest, wanted)
            guest.answered(self.form.confirmation(self.fan.own(guest), feed.confirmed))
        self._untidy = True


def _nothing() -> None:
    """The confirmation changes nothing for anybody."""
