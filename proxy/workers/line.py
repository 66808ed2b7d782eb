"""A worker's link to custody: questions with answers, over whichever custody there is at the moment."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from proxy.errors import Refusal
from proxy.workers.link import Link
from proxy.workers.parcels import refusal_of

HOLD = 10.0  # seconds that a call waits for an answer

Reply = dict[str, Any] | None


class Line:
    """`joined` and `lost` say which link there is. What is asked while there is none waits for the next one."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[dict[str, Any], Callable[[Reply], None]]] = {}

    @property
    def up(self) -> bool:
        """Whether custody can be asked now."""
        return self.link is not None and not self.link.over

    @property
    def ready(self) -> bool:
        """Whether custody takes what is said: not, while something waits for it."""
        return self.link is not None and self.up and not self.link.waiting

    def joined(self, link: Link) -> None:
        """Custody is there, for the first time or again: ask it what nobody has answered."""
        self.link = link
        for question, _ in self._open.values():
            link.say("ask", question)

    def lost(self) -> None:
        self.link = None

    def say(self, kind: str, data: Any = None, blob: bytes = b"") -> bool:
        """Tell custody. False: nobody heard it."""
        return self.link is not None and self.link.say(kind, data, blob=blob)

    def request(self, what: dict[str, Any], done: Callable[[Reply], None]) -> int:
        """Ask; `done` is told the reply, in which a `refusal` may stand. Returns a number for `forget`."""
        number = next(self._numbers)
        question = {"id": number, **what}
        self._open[number] = question, done
        self.say("ask", question)
        return number

    def forget(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        self._open.pop(number, None)

    def replied(self, reply: dict[str, Any]) -> None:
        """Custody has answered."""
        _, done = self._open.pop(reply["id"], (None, None))
        if done is not None:
            done(reply)

    async def ask(self, what: dict[str, Any], about: str) -> dict[str, Any]:
        """The reply. `Refusal`: custody's, or ours if it does not answer in time."""
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if reply is not None and not answered.done():
                answered.set_result(reply)

        number = self.request(what, done)
        try:
            async with asyncio.timeout(HOLD):
                reply = await answered
        except TimeoutError:
            detail = f"{about}: the process that keeps the tokens does not answer"
            raise Refusal("token-unavailable", detail, retry_after=5) from None
        finally:
            self.forget(number)
        if (refusal := reply.get("refusal")) is not None:
            raise refusal_of(refusal)
        return reply
