"""One connection to a broker. It carries one call at a time; what comes when nobody has asked ends it.

Most answers come whole and are read at once (`plainanswer.py`); any other is llhttp's (`reading.py`). Whoever waits for
an answer is told when all that came has been read, and when the connection is free again if the answer is complete.
"""

import asyncio
import math
import select
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from proxy import flow
from proxy.outbound import BROKEN_OFF, NO_ANSWER, NO_TIME, Lost
from proxy.relay.pool.answer import PooledAnswer
from proxy.relay.pool.deadlines import Deadlines
from proxy.relay.pool.dialling import Cuttable
from proxy.relay.pool.plainanswer import PlainAnswers
from proxy.relay.pool.reading import SMALL, Reading, Unreadable

IDLE, OUT, GONE = range(3)
"""What a connection waits for: a call; the rest of an answer; nothing any more."""


class Receiver(Protocol):
    """Whoever waits for an answer. Is told exactly once."""

    def answered(self, answer: PooledAnswer) -> None:
        """The head is there, and the whole body if it is a small one; else the body is to be read on."""
        ...

    def failed(self, error: Lost) -> None:
        """There is no answer, and the call may have been processed."""
        ...


class Home(Protocol):
    """Where a connection belongs."""

    def add(self, connection: "Connection") -> None:
        """It is there."""
        ...

    def free(self, connection: "Connection") -> None:
        """It may serve the next call."""
        ...

    def gone(self, connection: "Connection") -> None:
        """It serves nobody any more."""
        ...


class Stoppable(Protocol):
    """Something that goes on beside a call."""

    def stop(self) -> None:
        """The call has ended."""
        ...


class Connection(Cuttable):
    """Its heads of requests go to one authority, and nowhere else. `since`: when it last became idle.

    `unread(0)`: what has come that was not read yet: its end, or an answer to nothing. `used`: it was open before its
    call came. `left`: the broker closed it while it was idle. `sending`: what is to stop with it.
    """

    __slots__ = (
        "_begun", "_deadlines", "_endless", "_ends", "_heard", "_held", "_home", "_host", "_idle", "_large", "_loop",
        "_no_body", "_plain", "_read_ahead", "_reading", "_receiver", "_stage", "_time", "_transport", "_uploading",
        "_writable", "left", "sending", "since", "unread", "used",
    )  # fmt: skip

    def __init__(
        self, authority: bytes, home: Home, deadlines: Deadlines, plain: PlainAnswers, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._host = b"\r\nHost: %b\r\n" % authority
        self._home = home
        self._deadlines = deadlines
        self._plain = plain
        self._loop = loop
        self._time = loop.time
        self._transport: asyncio.Transport | None = None
        self._reading: Reading | None = None
        self._stage = IDLE
        self._receiver: Receiver | None = None
        self._writable: asyncio.Future[None] | None = None
        self._begun = self._held = self._uploading = self._large = False
        self._no_body = self._read_ahead = self._endless = False
        self._ends = self._heard = self._idle = math.inf
        self.unread: Callable[[int], Sequence[object]] = _nothing
        self.used = self.left = False
        self.sending: Stoppable | None = None
        self.since = loop.time()

    # -- for the pool -------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether it was made, and is not lost."""
        return self._stage != GONE and self._transport is not None

    def put_back(self) -> None:
        """It was taken from the pool, or made for a call, and nothing was sent."""
        if self.alive:
            self.used = True  # the broker may be closing it when the next call comes
            self._home.free(self)

    def abort(self) -> None:
        """Nobody waits for anything any more; the receiver is not told."""
        self._receiver = None
        self._end()

    # -- a call -------------------------------------------------------------------------------------------------------

    def send(
        self,
        data: bytes,
        receiver: Receiver,
        *,
        method: str,
        total: float,
        idle: float,
        read_ahead: bool = True,
        endless: bool = False,
        uploading: bool = False,
    ) -> None:
        """Write a request: all of it, or with `uploading` its head. The receiver is told exactly once.

        `total`: seconds for the whole exchange, or with `endless` for the answer's head alone. `idle`: seconds for
        which the broker may be silent. `read_ahead`: wait for the body of an answer that says it is small.
        """
        if self._stage != IDLE or self._transport is None:
            raise AssertionError("a connection was about to carry two calls at once")
        if self._host not in data:
            raise AssertionError("a credential was about to leave for another origin than its connection's")
        self._stage, self._receiver, self._no_body = OUT, receiver, method == "HEAD"
        self._read_ahead, self._endless, self._uploading = read_ahead, endless, uploading
        self._begun = False
        self._large = len(data) > flow.WAITING
        self._heard = now = self._time()
        self._ends, self._idle = now + total, idle
        due = now + (total if total < idle or uploading else idle)
        if due < self._deadlines.at:
            self._deadlines.by(due)
        self._transport.write(data)

    async def upload(self, piece: bytes) -> None:
        """Write more of a body, as soon as the broker has taken most of what was written before. Raises `Lost`."""
        if self._writable is not None:
            await self._writable
        if self._transport is None or self._stage == GONE:
            raise Lost(NO_ANSWER)
        self._transport.write(piece)

    def uploaded(self) -> None:
        """The body's end was written: from now on the broker's silence counts."""
        self._uploading, self.sending = False, None
        self._heard = self._time()
        self._deadlines.by(self.due())

    def give_up(self, error: Lost) -> None:
        """The call cannot be completed, and whoever waits for its answer is told so."""
        if self._stage != GONE:
            self._fail(error)

    # -- time ---------------------------------------------------------------------------------------------------------

    def due(self) -> float:
        """When the answer is late. While the client is slow to send or to take, only the whole of it counts."""
        if self._stage != OUT:
            return math.inf
        return self._ends if self._uploading or self._held else min(self._ends, self._heard + self._idle)

    def expire(self) -> None:
        """It is late."""
        self._fail(Lost(NO_TIME, "timeout"))

    # -- back-pressure ------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Read no more for now."""
        self._held = True
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if self._held:
            self._held = False
            self._heard = self._time()
            if self._transport is not None:
                self._transport.resume_reading()
            self._deadlines.by(self.due())

    def pause_writing(self) -> None:
        """From the loop: the broker takes less than we send."""
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """From the loop: it has caught up."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # -- from the loop ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there, and TLS is established."""
        line = cast("asyncio.Transport", transport)  # on uvloop it is none by name
        if self._stage == GONE:  # through a tunnel we hear of it last, and the broker may have spoken by then
            line.abort()
            return
        self._transport = line
        self._home.add(self)
        self._deadlines.add(self)
        flow.keep_little(line)
        if (certificate := line.get_extra_info("peercert")) is not None:
            certificate.clear()  # it was checked; as a dict it is some kilobytes that nobody reads
        if (plug := line.get_extra_info("socket")) is not None:
            poll = select.poll()
            poll.register(plug.fileno(), select.POLLIN)
            self.unread = poll.poll

    def connection_lost(self, exc: Exception | None) -> None:
        """The broker, or the way there, has ended it; or we have."""
        self._transport = None
        reading = self._reading
        if self._stage != OUT:
            self.left = self._stage == IDLE
            self._end()
        elif self._begun and reading is not None and reading.until_end and exc is None:
            self._finish(reading)
        else:
            within = self._begun and reading is not None and reading.status
            self._fail(Lost(BROKEN_OFF if within else NO_ANSWER))

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._stage != OUT:  # nobody has asked
            self._end()
            return
        self._heard = self._time()
        if not self._begun:
            self._begun = True
            if not self._no_body and (plain := self._plain.read(data)) is not None and len(plain[2]) <= SMALL:
                self._answer(PooledAnswer(*plain), lasts=True)
                return
            if self._reading is None:
                self._reading = Reading(self)
            self._reading.begin(data, no_body=self._no_body, read_ahead=self._read_ahead)
        if self._reading is not None:
            self._read(self._reading, data)

    def _read(self, reading: Reading, data: bytes) -> None:
        told = self._receiver is None
        try:
            reading.feed(data)
        except Unreadable as error:
            if reading.complete and told:
                self._finish(reading)
            else:
                self._fail(Lost(str(error), "malformed"))
            return
        if reading.complete:
            self._finish(reading)
        elif reading.answer is not None and not told:
            receiver, self._receiver = self._receiver, None
            if self._endless:
                self._ends = math.inf
            if receiver is not None:
                receiver.answered(reading.answer)

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _finish(self, reading: Reading) -> None:
        """The answer is complete."""
        answer, lasts = reading.answer, reading.lasts
        reading.answer = None
        if answer is None:
            self._answer(PooledAnswer(reading.status, reading.headers, reading.body), lasts=lasts)
        else:
            answer.end()
            self.go_on()
            self._answer(answer, lasts=lasts)

    def _answer(self, answer: PooledAnswer, *, lasts: bool) -> None:
        """All of it is there. The connection is free, if it may be used again, before anybody hears of it."""
        receiver, self._receiver = self._receiver, None
        if not lasts or self._uploading or self._transport is None or (self._large and self._unsent(self._transport)):
            self._end()
        else:
            self._stage, self.used, self.since = IDLE, True, self._heard
            self._home.free(self)
        if receiver is not None:
            receiver.answered(answer)

    @staticmethod
    def _unsent(transport: asyncio.Transport) -> bool:
        """Whether the broker has answered before it had all of the request."""
        return transport.get_write_buffer_size() > 0

    def _fail(self, error: Lost) -> None:
        """There will be no answer, or no more of it."""
        receiver = self._receiver
        answer = self._reading.answer if self._begun and self._reading is not None else None
        error.begun = self._begun
        error.reused = self.used and not error.begun
        self._end()
        if receiver is not None:
            receiver.failed(error)
        elif answer is not None:
            answer.fail(error)

    def _end(self) -> None:
        """Close it, at once."""
        if self._stage == GONE:
            return
        self._stage = GONE
        self._deadlines.drop(self)
        self._receiver = self._reading = None
        self.unread = _nothing
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self.resume_writing()
        if (sending := self.sending) is not None:
            self.sending = None
            sending.stop()
        self._home.gone(self)


def _nothing(_milliseconds: int) -> Sequence[object]:
    """Of a connection that is not there."""
    return ()
