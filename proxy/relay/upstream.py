"""Connections to brokers. A credential leaves here and nowhere else, after one last look at where it goes."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from yarl import URL

from proxy.brokers.definition import BEARER, Placement
from proxy.brokers.origin import HostPattern, Origin, pinned
from proxy.errors import Refusal
from proxy.filestamp import Stamp
from proxy.outbound import CONNECT_TIMEOUT, Lost, Trace, last_look, own_errors, session, tls_context
from proxy.relay import credential
from proxy.relay.headers import Raw
from proxy.relay.pool.connection import Connection
from proxy.tokens.grant import TokenPair

IDLE = 15.0  # seconds that a connection is kept for the next call; brokers close theirs after a minute or more
POOLS = 64  # grants whose connections are kept
LARGEST_HEAD = 32 * 1024  # bytes of an answer's head


class Upload:
    """A request body that is passed on as it comes. `length` is in bytes, None if nobody knows.

    `fault` is the refusal that ended it early: the client under the upload turns what its source raises into a lost
    connection, and then nobody could tell a client that is too slow from a broker that has gone.
    """

    def __init__(self, pieces: AsyncIterator[bytes], length: int | None) -> None:
        self.length = length
        self.fault: Refusal | None = None
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                yield piece
        except Refusal as refusal:
            self.fault = refusal
            raise


Body = bytes | Upload | None


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a broker. `target` is path and query, byte for byte; `headers` have passed `headers.to_broker`.

    `idle`: seconds for which the broker may be silent, None for what is usual in its place.
    `last_look` may raise a `Refusal` right before the first byte is written, when all waiting is over. `fresh`: over a
    connection that was not open before.
    """

    method: str
    target: bytes = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    pair: TokenPair
    mutating: bool
    streaming: bool = False
    body: Body = field(default=None, repr=False)
    idle: float | None = None
    last_look: Callable[[], None] | None = field(default=None, repr=False)
    fresh: bool = False


class Answer(Protocol):
    """A broker's answer, its body not yet read. Reading raises `Lost`."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Raw: ...
    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        ...

    async def start(self, most: int) -> tuple[bytes, bool]:
        """Read up to `most` bytes; with True, that was all of the body."""
        ...

    def close(self) -> None:
        """Done: the connection may be used again if the whole body was read, and is closed otherwise."""
        ...


class Upstream(Protocol):
    """How calls reach brokers."""

    async def send(self, call: Call, place: "Place") -> Answer:
        """Send once. Raises `NotSent` (not a byte has left) or `Lost` (it may have been processed).

        `call.last_look` is called once the connection is there; what it raises passes, and not a byte has left.
        """
        ...

    def at_hand(self, place: "Place", pair: TokenPair) -> Connection | None:
        """A connection that is open and idle, taken for a read of this place; None if there is none."""
        ...

    async def run(self, destinations: Callable[[], Iterable[tuple["Place", TokenPair]]]) -> None:
        """Look after the connections, until this is cancelled. `destinations`: where calls will go, at the moment."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mount's calls may go: one grant in one environment, and how to trust it.

    `origin` is the address of the mount's API, None where token answers name it; `placement` says where the credential
    goes. `egress` is a proxy's URL. `trust` tells which file `ca_file` was when the configuration was read.
    """

    grant: str
    api_hosts: tuple[HostPattern, ...]
    ca_file: str | None = None
    private_hosts: frozenset[str] = frozenset()
    egress: str | None = None
    total: float = 30.0
    idle: float = 60.0
    origin: Origin | None = None
    placement: Placement = BEARER
    trust: Stamp | None = None

    def origin_for(self, pair: TokenPair) -> Origin:
        """Where calls with this pair go."""
        return self.origin or pair.origin


class SessionUpstream:
    """`aiohttp.ClientSession`, held to sending once. Connections are never shared between grants or origins."""

    def __init__(self) -> None:
        self._pools: OrderedDict[_Key, _Pool] = OrderedDict()
        self._making = asyncio.Lock()

    async def send(self, call: Call, place: Place) -> Answer:
        origin = place.origin_for(call.pair)
        if not pinned(origin, place.api_hosts):
            raise AssertionError("a credential was about to leave for an origin outside the pin")
        written = credential.write(place.placement, call.pair.access_token, call.target, call.headers)
        pool = await self._pool(place, origin, mutating=call.mutating)
        # Path and query in one piece: yarl must neither quote, split nor drop a bare "?".
        url = URL.build(
            scheme="https", host=origin.host, port=origin.port, path=written.target.decode("ascii"), encoded=True
        )
        headers = written.headers
        if isinstance(call.body, Upload) and call.body.length is not None:
            headers.append(("Content-Length", str(call.body.length)))
        trace = Trace()
        pool.busy += 1
        try:
            with own_errors(), last_look(call.last_look):
                # The library limits the whole of an exchange or none of it: the head of a stream has a limit too.
                async with asyncio.timeout(place.total if call.streaming else None):
                    answer = await pool.client.request(
                        call.method,
                        url,
                        headers=headers,
                        data=call.body,
                        timeout=_timeout(call, place),
                        allow_redirects=False,
                        trace_request_ctx=trace,
                    )
        except BaseException as error:
            pool.busy -= 1
            if isinstance(error, Lost):
                error.reused = trace.reused and not error.begun
            raise
        found = SessionAnswer(answer, pool)
        if fault := _fault(answer):
            found.close()
            raise Lost(fault, "malformed")
        return found

    def at_hand(self, place: Place, pair: TokenPair) -> None:
        """Only the library knows."""
        del place, pair

    async def run(self, destinations: Callable[[], Iterable[tuple[Place, TokenPair]]]) -> None:
        """The library does."""
        del destinations

    async def _pool(self, place: Place, origin: Origin, *, mutating: bool) -> "_Pool":
        # What a connection trusts is part of the key: after a reload nothing goes on over one that trusted more.
        key = (place.grant, place.ca_file, place.trust, place.private_hosts, place.egress, origin, mutating)
        if key not in self._pools:
            async with self._making:  # one at a time: 64 first calls at once must not load the certificates 64 times
                if key not in self._pools:
                    tls = await tls_context(place.ca_file)
                    await self._make_room()
                    # A mutating call never meets a connection that the broker is just closing: nobody could tell
                    # afterwards whether the order got through.
                    keep_alive = None if mutating else IDLE
                    client = session(
                        tls,
                        private_hosts=place.private_hosts,
                        egress=place.egress,
                        keep_alive=keep_alive,
                    )
                    self._pools[key] = _Pool(client)
        self._pools.move_to_end(key)
        return self._pools[key]

    async def _make_room(self) -> None:
        """Close what was unused for longest. A pool with a call out is never cut."""
        idle = [key for key, pool in self._pools.items() if not pool.busy]
        for key in idle[: max(0, len(self._pools) - 2 * POOLS + 1)]:
            if key in self._pools and not self._pools[key].busy:  # still
                await self._pools.pop(key).client.close()

    async def close(self) -> None:
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.client.close()


_Key = tuple[str, str | None, Stamp | None, frozenset[str], str | None, Origin, bool]


@dataclass(slots=True)
class _Pool:
    """The connections of one key; `busy` counts the calls that are out."""

    client: aiohttp.ClientSession
    busy: int = 0


def _fault(answer: aiohttp.ClientResponse) -> str | None:
    """Why an answer's head is not taken, if so."""
    if not 200 <= answer.status <= 599:  # noqa: PLR2004
        return "the answer has no valid status"
    if answer.version not in (aiohttp.HttpVersion10, aiohttp.HttpVersion11):
        return "the answer is in another version of HTTP"
    codings = [
        value.strip(b" \t").lower() for name, value in answer.raw_headers if name.lower() == b"transfer-encoding"
    ]
    if codings not in ([], [b"chunked"]):
        # The client would get the coded bytes without a word about the coding.
        return "the answer has a transfer coding that nobody asked for"
    if sum(len(name) + len(value) + 4 for name, value in answer.raw_headers) > LARGEST_HEAD:
        return f"the answer's head is larger than {LARGEST_HEAD} bytes"
    return None


def _timeout(call: Call, place: Place) -> aiohttp.ClientTimeout:
    total = None if call.streaming else place.total
    idle = place.idle if call.idle is None else call.idle
    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_TIMEOUT, sock_read=idle, ceil_threshold=3600)


class SessionAnswer:
    """An `aiohttp.ClientResponse`, with our errors."""

    def __init__(self, answer: aiohttp.ClientResponse, pool: _Pool) -> None:
        self._answer = answer
        self._pool: _Pool | None = pool

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Raw:
        return self._answer.raw_headers

    async def chunks(self) -> AsyncIterator[bytes]:
        with own_errors():
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def start(self, most: int) -> tuple[bytes, bool]:
        got = bytearray()
        with own_errors():
            while len(got) < most:
                chunk = await self._answer.content.read(most - len(got))
                if not chunk:
                    return bytes(got), True
                got += chunk
        return bytes(got), self._answer.content.at_eof()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.busy -= 1
            self._pool = None
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()
