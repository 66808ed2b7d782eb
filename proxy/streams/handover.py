"""Answers that name an address where a stream goes on: it becomes one of ours. And session ids that were handed out.

Tradier: `POST …/events/session` answers `{"stream": {"url": …, "sessionid": …}}`. Who knows the id may open the stream,
so it is remembered whose it is: 5 minutes to connect (docs/reference/streaming), and then while it is used.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.admission import Mount, Visit, reached
from proxy.brokers import Origin
from proxy.clock import Clock
from proxy.errors import Refusal
from proxy.gate.clients import Client
from proxy.gate.rows import Row
from proxy.gate.target import Target
from proxy.relay import headers as header_rules

CONNECT_WITHIN = 300.0  # seconds
MOST = 10_000  # ids that are remembered; beyond them those that wait for longest are forgotten
LONGEST_ID = 256


@dataclass(frozen=True, slots=True)
class Handed:
    """A call whose answer holds such an address. `digest`: of the client's key, None where no key is asked for."""

    mount: Mount
    row: Row
    wanted: Target = field(repr=False)
    client: Client
    digest: str | None = field(repr=False)
    visit: Visit = field(repr=False)

    @property
    def grant(self) -> str:
        """Whose credential goes along."""
        return self.visit.record.grant or self.mount.grant

    @property
    def base(self) -> str:
        """Where this client reached us: `http://127.0.0.1:8080`."""
        return reached(self.visit.request.transport, self.visit.request.raw_headers)


class Handover(Protocol):
    """What is done about the rows of one kind (`rewrites`)."""

    def prepare(self, handed: Handed) -> None:
        """Before anything is sent. `Refusal`: there would be no address to hand out."""
        ...

    async def rewritten(self, handed: Handed, body: bytes, origin: Origin) -> bytes:
        """The answer (status 200) as the client gets it. `origin`: where it came from. `Refusal`."""
        ...


@dataclass(slots=True)
class Session:
    """Whose session an id stands for. `ends`: Unix time until which somebody must connect; `used`: by so many now."""

    client: Client
    digest: str | None
    mount: str
    grant: str
    ends: float
    used: int = 0


class Sessions:
    """The session ids that were handed out here, in memory only: after a restart a client asks for a new one."""

    def __init__(self, clock: Clock, *, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._known: OrderedDict[str, Session] = OrderedDict()

    def remember(self, text: str, session: Session) -> None:
        """Hand it out."""
        self._forget()
        idle = [each for each, session in self._known.items() if not session.used]
        for each in idle[: max(0, len(self._known) - self._most + 1)]:
            del self._known[each]
        self._known[text] = session

    def find(self, text: str) -> Session | None:
        """Whose it is; None if it was not handed out here, or too long ago."""
        self._forget()
        return self._known.get(text)

    @contextmanager
    def used(self, text: str) -> Iterator[None]:
        """It does not end within the block, and 5 minutes after it."""
        session = self._known.get(text)
        if session is None:
            yield
            return
        session.used += 1
        try:
            yield
        finally:
            session.used -= 1
            session.ends = self._clock.now().wall + CONNECT_WITHIN
            if text in self._known:
                self._known.move_to_end(text)

    def _forget(self) -> None:
        now = self._clock.now().wall
        for text in [text for text, session in self._known.items() if not session.used and session.ends <= now]:
            del self._known[text]


class StreamUrls:
    """Tradier's sessions. `stream_mount(mount)` is the mount of the API `stream` with the same grant, if there is one;
    `url()` is where the mounts are served beside each other.
    """

    def __init__(
        self, sessions: Sessions, clock: Clock, stream_mount: Callable[[str], str | None], url: Callable[[], str]
    ) -> None:
        self._sessions, self._clock = sessions, clock
        self._stream_mount, self._url = stream_mount, url

    def prepare(self, handed: Handed) -> None:
        """There is nothing to be ready for."""

    async def rewritten(self, handed: Handed, body: bytes, _origin: Origin) -> bytes:
        """Remember whose the id is, and let the address lead here."""
        found = _read(body)
        if found is None:
            return body  # an error of the broker's, with status 200
        document, stream = found
        text = stream.get("sessionid")
        if isinstance(text, str) and 0 < len(text) <= LONGEST_ID:
            now = self._clock.now().wall
            session = Session(handed.client, handed.digest, handed.mount.name, handed.grant, now + CONNECT_WITHIN)
            self._sessions.remember(text, session)
        mount, url = self._stream_mount(handed.mount.name), stream.get("url")
        if not isinstance(url, str):
            return body
        host, slash, path = url.partition("://")[2].partition("/")
        if not host or not (slash == "" or header_rules.stays(f"/{path}")):
            raise Refusal("bad-answer", "The broker's answer names a stream in a way that makes no sense.")
        base = self._url() if handed.visit.door.mount else handed.base
        # Where there is no such mount the refusal here says so. At the broker the client would show it the client key.
        stream["url"] = f"{base}/{mount or f'no-{handed.mount.broker.name}-stream-mount'}{slash}{path}"
        return json.dumps(document, separators=(",", ":")).encode()


def _read(body: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The document and its `stream`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    stream = document.get("stream") if isinstance(document, dict) else None
    return (document, stream) if isinstance(stream, dict) else None
