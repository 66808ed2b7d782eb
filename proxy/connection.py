"""One connection of a client: aiohttp's `RequestHandler`, made quiet and strict, and with an express lane.

aiohttp quotes the offending bytes of a bad request in its error log and in its 400, a client key included, and logs the
text of exceptions. Neither may happen here, so what it would say is said by us, in fixed words.
"""

import asyncio
import sys
import traceback
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from proxy import flow, logs
from proxy.errors import Refusal, render
from proxy.parser import Boundary, ReadAhead
from proxy.plainhead import Heads
from proxy.sockets import cut_off, untaken
from proxy.vestibule import Crowd

HEAD_TIMEOUT = 10.0  # seconds for a head: from the connection, or from its first byte, to its end
TAKE_TIMEOUT = 20.0  # seconds in which a client has to take what is waiting for it, or at least
TAKEN = 16 * 1024  # bytes of it
KEEP_ALIVE = 75.0  # seconds that an idle connection stays open
LONGEST_LINE = 8190
MOST_HEADERS = 64
LARGEST_HEAD = 16 * 1024  # bytes of method, target, and the names and values of headers
UNFINISHED = LARGEST_HEAD + 4 * 1024  # bytes of a head that has not come to its end: with all that separates those
LINGER = 1.0  # seconds to read on after a refusal, so that the client sees the answer before the close

log = logs.get("listener")


class Carried(Protocol):
    """A call that the express lane has sent."""

    def abandon(self) -> None:
        """Its client has gone, or nobody else can go on with it."""
        ...

    async def go_on(self, request: web.BaseRequest) -> web.StreamResponse:
        """Its answer is not for the express lane: serve it as any other request."""
        ...


class Lane(Protocol):
    """Takes plain reads before they become requests of aiohttp's."""

    def take(self, line: "ExpressHandler", data: bytes) -> bool:
        """Serve the request that `data` is, and use the line's `carry` and what follows it; False: it is not for us."""
        ...


class QuietHandler(RequestHandler):
    """One connection. Errors of the parser and of handlers are answered in fixed words and logged by their type.

    It is given up if a head takes too long to come, or an answer to be taken: the library looks after neither.
    """

    __slots__ = (
        "_crowd", "_ends", "_head", "_head_timeout", "_head_timer", "_line", "_take_timeout", "_take_timer",
    )  # fmt: skip

    def __init__(
        self, server: web.Server, *, head_timeout: float, take_timeout: float, crowd: Crowd, **settings: Any
    ) -> None:
        super().__init__(server, **settings)
        self._head_timeout = head_timeout
        self._take_timeout = take_timeout
        self._crowd = crowd
        self._head_timer: asyncio.TimerHandle | None = None
        self._take_timer: asyncio.TimerHandle | None = None
        self._ends = False
        self._messages: ReadAhead = ReadAhead()
        self._head = 0  # bytes since the last head was complete, but for its body's
        self._line: asyncio.Transport | None = None  # still there when aiohttp has let go of its own

    def connection_made(self, transport: Any) -> None:
        self._crowd.inside += 1
        self._line = transport
        flow.keep_little(transport)
        super().connection_made(transport)
        self._await_head()
        if self._crowd.inside > self._crowd.limit:
            transport.write(_TOO_MANY)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.inside -= 1
        self._line = None
        self._stop_waiting()
        self._taken()
        super().connection_lost(exc)

    # -- heads --------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._ends or self._head > UNFINISHED:
            return  # the last answer has been given or is due: what else comes is not worth a look
        heads, of_body = self._request_count, self._upgraded or not self._messages.body.is_eof()
        super().data_received(data)
        if self._request_count != heads:
            self._stop_waiting()
            self._head = 0
            return
        self._head += 0 if of_body else len(data)
        if self._head > UNFINISHED:  # the parser keeps half a megabyte before it gives up: what no head may hold
            super().data_received(b"\0")  # makes it do so now
        elif data and self._head_timer is None and self._waiter is not None and not self._waiter.done():
            self._await_head()  # idle: the beginning of a head

    def _await_head(self) -> None:
        self._crowd.heads += 1
        self._head_timer = self._loop.call_later(self._head_timeout, self.force_close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._crowd.heads -= 1
            self._head_timer.cancel()
            self._head_timer = None

    # -- answers ------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def force_close(self) -> None:
        super().force_close()
        self._await_taking()  # a transport that closes waits for ever to get rid of what it holds

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self._await_taking()

    async def finish_response(self, *arguments: Any) -> tuple[web.StreamResponse, bool]:
        done = await super().finish_response(*arguments)
        self._ends = not done[0].keep_alive
        self._await_taking()
        if self._ends and self._head > UNFINISHED:
            await asyncio.sleep(LINGER)  # the client may still be writing
        elif self._line is not None:
            self.data_received(b"")  # what was sent ahead may wait in the parser, and aiohttp would leave it there
            if self._head and not self._messages and self._head_timer is None:
                self._await_head()  # the beginning of a head that came while this answer was under way
        return done

    def _await_taking(self) -> None:
        if self._line is not None and self._take_timer is None and self._line.get_write_buffer_size():
            now = (self._request_count, untaken(self._line))
            self._take_timer = self._loop.call_later(self._take_timeout, self._give_up, *now)

    def _taken(self) -> None:
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None

    def _give_up(self, heads: int, before: int) -> None:
        """The time is over: end what has made no progress in it."""
        self._take_timer = None
        if self._line is None or not self._line.get_write_buffer_size():
            return
        waits = self.writing_paused or self._force_close
        waits = waits or (heads == self._request_count and not self._request_in_progress)
        if waits and before - untaken(self._line) < TAKEN:
            cut_off(self._line)
        elif waits or not self._request_in_progress:
            self._await_taking()  # a slow client; or what waits now is another answer than then

    # -- words --------------------------------------------------------------------------------------------------------

    def log_exception(self, *_args: Any, **kwargs: Any) -> None:
        error = kwargs.get("exc_info")
        found = error if isinstance(error, BaseException) else sys.exc_info()[1]
        log.error("a request failed", error=type(found).__name__, at=_place(found))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's own words, with bytes of the request in them
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client has gone, or an answer had already begun")
        if status < 500:  # noqa: PLR2004
            refusal = TOO_LARGE if self._head > UNFINISHED else _unreadable(exc)
        else:
            self.log_exception(exc_info=exc)
            refusal = Refusal("internal", "bearerd failed; its log says where.", close=True)
        return answer_of(refusal)


class ExpressHandler(QuietHandler):
    """A connection beside whose ordinary way there is the express lane: see `express.py`.

    A lane that takes a request says `carry`, and then once `deliver` or `pass_on`. What comes from the client meanwhile
    waits.
    """

    __slots__ = ("_boundary", "_carried", "_handed", "_held", "_lane", "heads")

    def __init__(self, server: web.Server, lane: Lane, **settings: Any) -> None:
        super().__init__(server, **settings)
        self.heads = Heads()
        self._lane = lane
        self._boundary = Boundary()
        self._carried: Carried | None = None
        self._handed: Carried | None = None  # until its request has come out of the parser
        self._held = b""

    @property
    def line(self) -> asyncio.Transport | None:
        """What the client is connected by; None once it has gone."""
        return self._line

    def data_received(self, data: bytes) -> None:
        if self._carried is not None:
            self._hold(data)
        elif not (data and self._idle() and self._lane.take(self, data)):
            self.ordinary(data)

    def ordinary(self, data: bytes) -> None:
        """What is not for the express lane."""
        before = self._request_count
        super().data_received(data)
        self._boundary.fed(data, self._request_count - before, self._messages.head)
        self._messages.head = None  # a kilobyte or two of each idle connection

    def _idle(self) -> bool:
        """Whether nothing is under way, nothing has begun to come, and the last answer has been taken."""
        waiter, line = self._waiter, self._line
        # The task that waits for requests may not have run yet when the first one comes.
        waits = not waiter.done() if waiter is not None else not (self._request_count or self._request_in_progress)
        return (
            waits
            and self._boundary.between
            and not (self._ends or self._close or self._force_close or self._upgraded)
            and line is not None
            and not line.get_write_buffer_size()
        )

    def carry(self, call: Carried, *, last: bool = False) -> None:
        """The call is under way: a shutdown waits for it, and the connection is not idle. `last`: it ends with it."""
        self._carried, self._ends = call, last
        if self._head_timer is not None:
            self._stop_waiting()
        self._request_in_progress = True

    def answer(self, answer: bytes, *, last: bool = False) -> None:
        """Answer at once what was taken, without a call."""
        self._ends = last
        self._stop_waiting()
        self.deliver(answer)

    def deliver(self, answer: bytes) -> None:
        """The whole answer, as it is to be sent."""
        self._carried = None
        if self._take_timer is not None:
            self._taken()  # the answer that it was for had been taken before this call began: see `_idle`
        if self._line is not None:
            self._line.write(answer)
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        self._next_keepalive_close_time = self._loop.time() + KEEP_ALIVE
        self._await_taking()
        if self._close or self._ends:  # the client has asked for it, or somebody here has meanwhile
            self.force_close()
        elif self._held:
            self._release()

    def close(self) -> None:
        """After the call that is under way; the library would end the task that may still have to go on with it."""
        if self._carried is None and self._handed is None:
            super().close()
        else:
            self._close = True

    def _process_keepalive(self) -> None:
        if self._carried is not None:  # to the library the connection seems idle
            self._next_keepalive_close_time = self._loop.time() + KEEP_ALIVE
        super()._process_keepalive()

    def break_off(self) -> None:
        """There is no answer, by a fault of ours."""
        self._carried = None
        if self._line is not None:
            self._line.abort()

    def pass_on(self, head: bytes) -> None:
        """The ordinary way from here on: the parser gets the head, and its request finds the call in `handed`."""
        call, self._carried = self._carried, None
        self._handed, self._ends = call, False
        closing = self._close, self._force_close
        self._close = self._force_close = False  # whoever closes waits for this call, and takes no other
        self.ordinary(head)
        self._close, self._force_close = closing
        self._release()

    def handed(self) -> Carried | None:
        """The call that the next request is about, told once."""
        call, self._handed = self._handed, None
        return call

    def connection_lost(self, exc: BaseException | None) -> None:
        calls, self._carried, self._handed, self._held = (self._carried, self._handed), None, None, b""
        super().connection_lost(exc)
        for call in calls:
            if call is not None:
                call.abandon()

    def _hold(self, data: bytes) -> None:
        if self._ends:
            return
        if not self._held and self._line is not None:
            self._line.pause_reading()
        self._held += data

    def _release(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if self._line is not None:
                self._line.resume_reading()
                self.data_received(held)


def answer_of(refusal: Refusal) -> web.Response:
    """What a client gets who gets no handler: its connection is closed behind it."""
    rendered = render(refusal, request_id="-")
    response = web.Response(status=rendered.status, body=rendered.body, headers=rendered.headers)
    response.force_close()
    return response


def _place(error: BaseException | None) -> str:
    """The innermost frames, `gateway.py:120 → headers.py:31`: the text of an exception may quote the request."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return " → ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]) or "?"


def _unreadable(error: BaseException | None) -> Refusal:
    if isinstance(error, LineTooLong):
        return Refusal("head-too-large", "The request line or a header is too long.", close=True)
    if isinstance(error, HttpProcessingError) and error.message == "Too many headers received":
        return Refusal("head-too-large", f"More than {MOST_HEADERS} headers.", close=True)
    return Refusal("bad-request", "The request is no valid HTTP/1.1.", close=True)


# As bytes, for connections that get no handler.
TOO_LARGE = Refusal("head-too-large", f"Target and headers are over {LARGEST_HEAD} bytes.", close=True)
_TOO_MANY = render(
    Refusal("overloaded", "Too many connections are open.", retry_after=1, close=True), request_id="-"
).spelled()
NOT_YOURS = render(
    Refusal(
        "peer-denied",
        "Only certain users of this machine may call here.",
        fix="name the program's user or group below `unix_socket:`",
        close=True,
    ),
    request_id="-",
).spelled()
