"""The same calls through both lanes: everything that anybody gets to see of them, and whether it is the same.

A `Scene` is a lab with one of the two lanes. What happens in it is written down as lines of text, of which nothing is
left out but what has to differ: dates, identifiers, the ports of this run, and how long something took.
"""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.lab import Lab, running
from tests.wire import Step, Visit, Wire, accept

ACCOUNTS = "/lab/v1/accounts"
PATIENCE = 15.0  # seconds for an answer that must come
SILENCE = 0.4  # seconds after which none is waited for any more
PROBE = "probe"
LANES = ("pool", "express")
Piece = bytes | float  # what is sent, or a pause in seconds
Play = Callable[["Scene"], Awaitable[None]]

_VARIES = (
    (re.compile(rb"(?i)(\r\nDate: )[^\r]*"), rb"\1*"),
    (re.compile(rb"(?i)(\r\nX-Request-Id: )[0-9a-f]{16}(?=\r)"), rb"\1*"),
    (re.compile(rb'("request_id": ?")[0-9a-f]{16}"'), rb'\1*"'),
)
_FRESH = re.compile("[0-9a-f]{16}")
_TIMES = re.compile(r"_(?:bucket|sum|created)\b|timestamp_seconds|audit_(?:records|waiting)|generation\b")


@dataclass
class Seen:
    """What was seen of one scene: lines by the name of the talk, and of everything together."""

    talks: dict[str, list[str]] = field(default_factory=dict)
    audit: Counter[str] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)
    log: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    taken: int = 0
    calls: int = 0  # at the broker


def differences(one: Seen, other: Seen) -> list[str]:
    """Where two scenes are not the same, a line each."""
    found = []
    for name in one.talks.keys() | other.talks.keys():
        first, second = one.talks.get(name, []), other.talks.get(name, [])
        if first != second:
            found.append(f"{name}:")
            found += [f"   - {line}" for line in first if line not in second]
            found += [f"   + {line}" for line in second if line not in first] or ["   (in another order)"]
    for what in ("audit", "metrics", "log"):
        first, second = getattr(one, what), getattr(other, what)
        found += [f"{what} - {count} times {line}" for line, count in sorted((first - second).items())]
        found += [f"{what} + {count} times {line}" for line, count in sorted((second - first).items())]
    found += [f"left behind: {line}" for line in one.left + other.left]
    return found


class _Events(logging.Handler):
    """The events of our own loggers, warnings and worse: what was said, not the times and numbers in it."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__(logging.WARNING)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        event = record.msg if isinstance(record.msg, dict) else {"event": str(record.msg)[:60]}
        kept = ("event", "outcome", "status", "row", "client", "mount", "error", "reason")
        self.found[json.dumps({name: event[name] for name in kept if name in event}, default=str)] += 1


@dataclass
class Scene:
    """One lab, and what has been seen of it. Of all talks one in `share` is held."""

    lab: Lab
    share: int = 1
    seen: Seen = field(default_factory=Seen)
    _offered: int = 0

    def neutral(self, data: bytes) -> bytes:
        """Without what differs from run to run."""
        for pattern, text in _VARIES:
            data = pattern.sub(text, data)
        data = data.replace(f":{self.lab.port}".encode(), b":OURS")
        return data.replace(f":{self.lab.broker.port}".encode(), b":THEIRS")

    def note(self, name: str, what: str, data: bytes = b"") -> None:
        text = self.neutral(data).decode("latin-1")
        shown = text if len(text) < 2000 else f"{text[:1500]}… {len(text)} characters, {hash(text)}"
        self.seen.talks.setdefault(name, []).append(f"{what} {shown!r}" if data else what)

    def get(self, target: str = ACCOUNTS, *headers: str, **options: Any) -> bytes:
        """A plain read, in bytes."""
        return self.lab.request("GET", target, *headers, **options)

    # -- talking -------------------------------------------------------------------------------------------------------

    async def talk(
        self, name: str, *pieces: Piece, methods: Sequence[str] = ("GET",), script: Iterable[Step] = (),
        primed: bool = True, probe: bool = True, mine: bytes = b"",
        answers: bool = True,
    ) -> None:  # fmt: skip
        """Say this on a connection of its own, and write down all that comes back.

        `primed`: behind a plain read, so that everything is at hand for the express lane. `methods` are those of the
        answers that will come, as far as they are to be waited for. `probe`: ask for one thing more in the end, which
        shows what became of the connection. `mine`: what the targets of this talk hold, where others talk, too. Without
        `answers` they are not written down: who goes on writing to a connection that is closed may lose the last one.
        """
        self._offered += 1
        if self._offered % self.share:
            return
        lab = self.lab
        async with lab.connect() as wire:
            if primed:
                await wire.send(self.get())
                await self.reply(wire, name, "GET", "before")
            before = len(lab.broker.visits)
            lab.broker.script += script
            await self.say(wire, *pieces)
            open_still = True
            for method in methods:
                open_still = open_still and await self.reply(wire, name, method)
            if probe and open_still:
                await self.probe(wire, name)
        if not answers:
            self.seen.talks[name] = []
        self.visits(name, before, mine)

    async def say(self, wire: Wire, *pieces: Piece) -> None:
        """As far as the other end listens."""
        with suppress(ConnectionError, RuntimeError):  # uvloop's word for a connection that is closed already
            for piece in pieces:
                if isinstance(piece, bytes):
                    await wire.send(piece)
                else:
                    await asyncio.sleep(piece)

    async def probe(self, wire: Wire, name: str) -> None:
        """One plain read more. What comes before its answer is written down, too."""
        await self.say(wire, self.get(ACCOUNTS + "?probe", f"X-Request-Id: {PROBE}"))
        while await self.reply(wire, name, "GET", "probe", patience=SILENCE):
            if f"X-Request-Id: {PROBE}" in self.seen.talks[name][-1]:
                return

    async def reply(
        self, wire: Wire, name: str, method: str, what: str = "answer", *, patience: float = PATIENCE
    ) -> bool:
        """The next answer, written down. False if there is none, or the connection ends with it."""
        try:
            head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), patience)
        except TimeoutError:
            self.note(name, f"{what}: nothing comes")
            return False
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            partial = getattr(error, "partial", b"")
            self.note(name, f"{what}: closed", partial)
            return False
        body, whole = await self._body(wire, head, method)
        self.note(name, f"{what} to {method}:", head + body)
        if not whole:
            self.note(name, "broken off")
            return False
        if b"\r\nconnection: close\r\n" in head.lower():
            end = await self._end(wire)
            self.note(name, "ends", end)
            return False
        return True

    async def _body(self, wire: Wire, head: bytes, method: str) -> tuple[bytes, bool]:
        """The body, and whether it is whole. Pieces of a chunked one are joined: nobody promises where they are cut."""
        status = head.split(b" ")[1]
        if method == "HEAD" or status in (b"100", b"204", b"304"):
            return b"", True
        body = bytearray()
        try:
            if length := re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", head):
                body += await asyncio.wait_for(wire.reader.readexactly(int(length[1])), PATIENCE)
            elif b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
                while chunk := await wire.chunk():
                    body += chunk
            else:
                return b"", True
        except asyncio.IncompleteReadError as error:
            return bytes(body) + error.partial, False
        except (ConnectionError, TimeoutError):
            return bytes(body), False
        return bytes(body), True

    async def _end(self, wire: Wire) -> bytes:
        try:
            return await asyncio.wait_for(wire.reader.read(), PATIENCE)
        except ConnectionError:
            return b""
        except TimeoutError:
            return b"it stays open"

    def visits(self, name: str, since: int, mine: bytes = b"") -> None:
        """What has reached the broker."""
        for visit in self.lab.broker.visits[since:]:
            if mine in visit.target:
                self.note(name, "at the broker:", spelled(visit))
        self.lab.broker.script = [] if not mine else self.lab.broker.script

    async def settled(self) -> None:
        """Until nothing is under way any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while self.lab.gateway.serving.in_flight or self.lab.lent:  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(0.005)

    # -- afterwards ----------------------------------------------------------------------------------------------------

    async def look_back(self) -> None:
        """The audit trail, the metrics, and what nobody has given back."""
        lab, seen = self.lab, self.seen
        await self.settled()
        await lab.trail.durable()
        for name in lab.disk.names(lab.trail.directory):
            for line in lab.disk.content(lab.trail.directory / name).splitlines():
                record = json.loads(line)
                record["id"] = _FRESH.sub("*", record.get("id", ""))
                seen.audit[json.dumps({key: record[key] for key in record if key not in _OF_THE_MOMENT})] += 1
        for text in lab.metrics.render().decode().splitlines():
            if not text.startswith("#") and not _TIMES.search(text):
                name, _, value = text.rpartition(" ")
                seen.metrics[name] += int(float(value))
        seen.left += [f"{lab.lent} token pairs lent"] if lab.lent else []
        seen.left += [f"{lab.gateway.serving.in_flight} calls in flight"] if lab.gateway.serving.in_flight else []
        seen.taken, seen.calls = lab.lane.taken, len(lab.broker.visits)


_OF_THE_MOMENT = ("seq", "time", "ms", "link", "after", "sent", "intent")


def spelled(visit: Visit) -> bytes:
    """A request as it came to the broker."""
    lines = [visit.line, *(f"{name}: {value}".encode("latin-1") for name, value in visit.headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + visit.body


@asynccontextmanager
async def staged(engine: str, share: int = 1, **options: Any) -> AsyncIterator[Scene]:
    """A scene with this lane. The options are those of `tests.lab.Setting`."""
    log = logging.getLogger()
    async with running(engine=engine, **options) as lab:
        lab.change(patience=0.3)
        scene = Scene(lab, share)
        handler = _Events(scene.seen.log)
        log.addHandler(handler)
        try:
            yield scene
            await scene.look_back()
        finally:
            log.removeHandler(handler)


async def both(play: Play, *, lanes: Sequence[str] = LANES, **options: Any) -> tuple[list[str], Seen]:
    """The differences between the two lanes in a play, and what was seen in the express lane.

    The options are those of `staged`.
    """
    seen = []
    for engine in lanes:
        async with staged(engine, **options) as scene:
            await play(scene)
        seen.append(scene.seen)
    return differences(*seen), seen[1]


def sends(*pieces: Piece, close: bool = False) -> Step:
    """A broker that reads the request, and answers this, with pauses."""

    async def step(visit: Visit) -> None:
        await visit.read()
        for piece in pieces:
            if isinstance(piece, bytes):
                await visit.write(piece)
            else:
                await asyncio.sleep(piece)
        if close:
            visit.writer.close()

    return step


def later(seconds: float, then: Step = accept) -> Step:
    """A broker that takes its time."""

    async def step(visit: Visit) -> None:
        await asyncio.sleep(seconds)
        await then(visit)

    return step
