"""Every open stream of this server: who holds it, whether it may go on, and how it is told that it may not.

Looked over twice a second: a key that ends, a client or a right that is removed, a mount that is gone, a halt. A halt
closes what was open before it; to read, one may connect again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from proxy import logs
from proxy.audit.record import Traffic
from proxy.clock import Clock
from proxy.errors import Refusal
from proxy.gate.clients import Client, Keyring, allowed
from proxy.gate.halt import Halt, told
from proxy.gate.rows import Row
from proxy.gate.scopes import ScopeTable
from proxy.metrics import Metrics
from proxy.streams import codes

LOOK_EVERY = 0.5  # seconds
GOODBYE = 1.5  # seconds for all of them to go when the server stops
STRANGERS = 64  # sockets at a time of those who have not said yet who they are
SILENT = 1.0  # seconds: whoever has a place for so long, and has said nothing, loses it to the next one

log = logs.get("streams")

Kind = Literal["socket", "http", "port"]
Verdict = tuple[int, str]  # a close code, and a reason for a person


class Place(Protocol):
    """What is asked of a mount."""

    @property
    def scopes(self) -> frozenset[str]: ...
    @property
    def table(self) -> ScopeTable: ...
    @property
    def grant(self) -> str: ...


class Halted(Protocol):
    """What is asked of the halts."""

    @property
    def all(self) -> tuple[Halt, ...]: ...


class Rules(Protocol):
    """What decides right now; the gateway's policy is such a thing."""

    @property
    def mounts(self) -> Mapping[str, Place]: ...
    @property
    def keyring(self) -> Keyring: ...
    @property
    def halts(self) -> Halted: ...


@dataclass(slots=True, eq=False)
class OpenStream:
    """One stream that is open. `digest` is that of the client's key, None where no key is asked for.

    `end(code, reason)` closes it, without waiting. `grant`: whose credential it was opened with. `since`: Unix time.
    `halts`: those that stood when it was opened. `over`: it has been told to end.
    """

    mount: str
    client: Client
    row: Row
    digest: str | None
    kind: Kind
    since: float
    end: Callable[[int, str], None]
    grant: str = ""
    halts: tuple[Halt, ...] = ()
    over: Verdict | None = None
    traffic: Traffic | None = None
    counted: tuple[int, int] = (0, 0)  # messages up and down that the metrics know of

    def news(self) -> tuple[int, int]:
        """Messages up and down since it was last asked."""
        traffic = self.traffic or _NOTHING
        known, self.counted = self.counted, (traffic.up, traffic.down)
        return traffic.up - known[0], traffic.down - known[1]

    def close(self, code: int, reason: str) -> None:
        """End it; once. Never raises: the others are to be looked after, too."""
        if self.over is None:
            self.over = (code, reason)
            try:
                self.end(code, reason)
            except Exception as error:  # noqa: BLE001  whatever it is, it is one stream's
                log.error(
                    "a stream could not be ended by a fault of ours", mount=self.mount, error=type(error).__name__
                )


@dataclass(slots=True, eq=False)
class Stranger:
    """A socket of one who has not said yet who it is. `since`: seconds since the boot; `end` is set when it is open."""

    since: float
    end: Callable[[int, str], None] | None = None


class Streams:
    """All that are open. `rules` gives what decides now; `metrics` is told of each that ends.

    `per_client`: sockets of one key at a time; it may change.
    """

    def __init__(self, clock: Clock, rules: Callable[[], Rules], metrics: Metrics, *, per_client: int = 32) -> None:
        self._metrics = metrics
        self.per_client = per_client
        self.draining = False
        self._clock = clock
        self._rules = rules
        self._open: dict[OpenStream, None] = {}
        self._held: Counter[str] = Counter()
        self._strangers: dict[Stranger, None] = {}

    @contextmanager
    def enter(self, stream: OpenStream) -> Iterator[None]:
        """Count it as open within the block. `Refusal("paced")` if its key has too many, `draining` at a stop."""
        self._check_open()
        holder = stream.digest or stream.client.name
        counted = stream.kind != "http"  # those are calls in flight
        if counted and self._held[holder] >= self.per_client:
            raise Refusal(
                "paced",
                f"The client {stream.client.name} has {self.per_client} sockets open; a key may have no more.",
                fix="close one, or raise limits.sockets_per_client",
            )
        stream.halts = self._rules().halts.all
        self._held[holder] += counted
        self._open[stream] = None
        try:
            yield
        finally:
            del self._open[stream]
            self._held[holder] -= counted
            if not self._held[holder]:
                del self._held[holder]
            self._metrics.stream_messages(stream.mount, *stream.news())
            code = stream.over[0] if stream.over else stream.traffic.code if stream.traffic else None
            self._metrics.stream_ended(stream.mount, stream.kind, code)

    @contextmanager
    def stranger(self) -> Iterator[Stranger]:
        """A socket whose client has not said yet who it is, within the block. `Refusal("overloaded")`: too many.

        Any program can hold all places, and those who mean it say who they are at once: the silent make room.
        """
        self._check_open()
        now = self._clock.now().boot
        if len(self._strangers) >= STRANGERS and not self._made_room(now):
            raise Refusal(
                "overloaded", f"{STRANGERS} sockets wait for a first frame already.", retry_after=1, close=True
            )
        found = Stranger(now)
        self._strangers[found] = None
        try:
            yield found
        finally:
            self._strangers.pop(found, None)

    def _made_room(self, now: float) -> bool:
        for stranger in self._strangers:
            if stranger.end is not None and now - stranger.since >= SILENT:
                del self._strangers[stranger]
                stranger.end(codes.LIMIT, "it said nothing, and others came")
                return True
        return False

    def _check_open(self) -> None:
        if self.draining:
            raise Refusal("draining", "bearerd is shutting down.", retry_after=1, close=True)

    def all(self) -> tuple[OpenStream, ...]:
        """What is open now, the oldest first."""
        return tuple(self._open)

    def measure(self) -> None:
        """Bring the metrics up to date."""
        self._metrics.dials.streams_open(Counter((stream.mount, stream.kind) for stream in self._open))
        for stream in self._open:
            self._metrics.stream_messages(stream.mount, *stream.news())

    def told(self) -> list[dict[str, Any]]:
        """What `status` shows: how many are open by mount, client and kind, since when, and their messages."""
        found: dict[tuple[str, str, Kind], dict[str, Any]] = {}
        for stream in self._open:
            mount, client, kind = key = (stream.mount, stream.client.name, stream.kind)
            empty = {
                "mount": mount,
                "client": client,
                "kind": kind,
                "open": 0,
                "since": stream.since,
                "up": 0,
                "down": 0,
            }
            group = found.setdefault(key, empty)
            traffic = stream.traffic or _NOTHING
            group["open"] += 1
            group["up"] += traffic.up
            group["down"] += traffic.down
        return list(found.values())

    async def run(self) -> None:
        """Look over all of them, twice a second, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """End those that may not go on."""
        if not self._open:
            return
        rules, now = self._rules(), self._clock.now().wall
        known: dict[tuple[object, ...], Verdict | None] = {}
        for stream in self.all():
            key = (stream.digest, id(stream.client), stream.mount, id(stream.row), stream.grant)
            if key not in known:
                known[key] = _verdict(stream, rules, now)
            verdict = known[key]
            if verdict is None and rules.halts.all != stream.halts:
                verdict = _halted(stream, rules.halts.all)
            if verdict is not None:
                stream.close(*verdict)

    async def end_all(self, code: int = codes.STOPPING, *, patience: float = GOODBYE) -> None:
        """The server stops: end all, let no more in, and return when they are gone, or after so many seconds."""
        self.draining = True
        for stream in self.all():
            stream.close(code, codes.MEANINGS.get(code, ""))
        for stranger in tuple(self._strangers):
            if stranger.end is not None:
                stranger.end(code, codes.MEANINGS.get(code, ""))
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._open or self._strangers:  # noqa: ASYNC110  each goes when its own task has ended
                    await asyncio.sleep(0.02)


_NOTHING = Traffic()


def _verdict(stream: OpenStream, rules: Rules, now: float) -> Verdict | None:
    """Why a stream may not go on, apart from halts."""
    try:
        client = rules.keyring.holder(stream.digest, now)
    except Refusal as refusal:
        return codes.UNKNOWN_CLIENT, refusal.detail
    mount = rules.mounts.get(stream.mount)
    if mount is None:
        return codes.NOT_ALLOWED, f"there is no mount {stream.mount} any more"
    if client.name != stream.client.name or client.grants != stream.client.grants:
        return codes.UNKNOWN_CLIENT, "the key is another client's now"
    if stream.grant and stream.grant.partition("/")[0] != mount.grant:
        return codes.NOT_ALLOWED, f"the mount {stream.mount} uses another grant now"
    lacking = allowed(client, stream.mount, mount.scopes, stream.row.scope)
    if lacking is not None:
        return codes.NOT_ALLOWED, lacking
    if stream.row not in mount.table.rows:
        return codes.NOT_ALLOWED, "the call is another one now"
    return None


def _halted(stream: OpenStream, halts: tuple[Halt, ...]) -> Verdict | None:
    """The halt that came after the stream was opened, and is about it."""
    for halt in halts:
        if halt not in stream.halts and halt.covers(stream.mount, stream.client.name, stream.row.scope):
            return codes.HALTED, told(halt)
    return None
