"""Who is looking: sessions of browsers that came with a token, each with a cookie and a form token of its own.

A session ends when somebody logs out of the console, after twelve hours in which no page of it was open, when many
newer ones have begun, and with the server. Nothing of it is stored.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from proxy.secret import Secret

COOKIE = "bearerd_console"
MOST = 16  # sessions at a time
IDLE = 12 * 3600.0  # seconds without a request or an open page
LIVELY = 60.0  # seconds after its last stream in which a browser is taken for one that runs scripts
_MOST_KEPT = 8  # notes and keys of one session that nobody has fetched yet

T = TypeVar("T")


def _token() -> Secret:
    return Secret(secrets.token_urlsafe(32))


@dataclass(slots=True, eq=False)
class Session:
    """One browser. `used` and `heard` are on the loop's clock: its last request, and its last live update."""

    used: float
    heard: float | None = None
    streams: int = 0
    name: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    cookie: Secret = field(default_factory=_token)
    csrf: Secret = field(default_factory=_token)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _notes: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _keys: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict, repr=False)
    _led: OrderedDict[bytes, str] = field(default_factory=OrderedDict, repr=False)  # digest of a form → its page
    _newest: tuple[bytes, str] | None = field(default=None, repr=False)  # digest of a key, and the name of its page

    @property
    def seen(self) -> float:
        """When somebody last looked: a page that updates itself asks for nothing."""
        return self.used if self.heard is None else max(self.used, self.heard)

    def runs_scripts(self, now: float) -> bool:
        """Whether its pages update themselves: then they are not sent for anew."""
        return self.streams > 0 or (self.heard is not None and now - self.heard < LIVELY)

    def note(self, text: str) -> str:
        """Keep a sentence for the next page. Returns its name."""
        return _keep(self._notes, text)

    def noted(self, name: str) -> str | None:
        """The sentence of that name, as often as its page is loaded."""
        return self._notes.get(name)

    def keep_key(self, made: dict[str, Any]) -> str:
        """Keep what `clients-add` has answered until it is shown. Returns its name, which is one for the same key."""
        which = hashlib.sha256(made["key"].encode()).digest()
        if self._newest is None or self._newest[0] != which:
            self._newest = (which, _keep(self._keys, made | {"key": Secret(made["key"])}))
        return self._newest[1]

    def take_key(self, name: str) -> dict[str, Any] | None:
        """That answer, this once."""
        return self._keys.pop(name, None)

    def lead(self, form: Mapping[str, str], place: str) -> None:
        """This form was carried out, and led there. Forms that may be carried out again have no `once`."""
        if form.get("once"):
            self._led[_digest(form)] = place
            while len(self._led) > _MOST_KEPT:
                self._led.popitem(last=False)

    def led(self, form: Mapping[str, str]) -> str | None:
        """Where this very form has led, if it was carried out: a browser sends it again if somebody clicks twice."""
        return self._led.get(_digest(form))

    def end(self) -> None:
        """Forget everything; its streams end."""
        self._notes.clear()
        self._keys.clear()
        self.ended.set()


class Pass:
    """The token of the printed address: it lets in once, or as often as one likes if `reusable`.

    One for all addresses of a console: what was used at one opens no other.
    """

    def __init__(self, token: str | None = None, *, reusable: bool = False) -> None:
        self._token = Secret(token or secrets.token_urlsafe(24))
        self._spent: Secret | None = None
        self._reusable = reusable

    @property
    def token(self) -> str:
        """One that lets in: if the last one has been used, a new one."""
        if self._token == self._spent:
            self._token = Secret(secrets.token_urlsafe(24))
        return self._token.reveal()

    def take(self, given: str) -> bool:
        """Whether this token lets in; then it does so no more."""
        if self._token == self._spent or not same(given, self._token):
            return False
        if not self._reusable:
            self._spent = self._token
        return True

    def was(self, given: str) -> bool:
        """Whether this is the token that was used last."""
        return self._spent is not None and same(given, self._spent)


class Sessions:
    """All sessions. `now` is the loop's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._open: list[Session] = []

    def begin(self) -> Session:
        """A new one. If there are too many, the one that was longest idle ends."""
        self._tidy()
        while len(self._open) >= MOST:
            self.end(min(self._open, key=lambda session: session.seen))
        session = Session(self._now())
        self._open.append(session)
        return session

    def of(self, cookie: str) -> Session | None:
        """The session whose cookie this is. Every one is compared, in constant time."""
        self._tidy()
        found = None
        for session in self._open:
            if same(cookie, session.cookie):
                found = session
        if found is not None:
            found.used = self._now()
        return found

    def end(self, session: Session) -> None:
        """End one."""
        if session in self._open:
            self._open.remove(session)
        session.end()

    def end_all(self) -> None:
        """The console stops."""
        for session in list(self._open):
            self.end(session)

    def _tidy(self) -> None:
        since = self._now() - IDLE
        for session in [each for each in self._open if each.used < since and not each.streams]:
            self.end(session)


def same(given: str, secret: Secret) -> bool:
    """Whether `given` is the secret, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.reveal().encode())


def _keep(kept: OrderedDict[str, T], what: T) -> str:
    name = secrets.token_urlsafe(16)
    kept[name] = what
    while len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
    return name


def _digest(form: Mapping[str, str]) -> bytes:
    return hashlib.sha256(repr(sorted(form.items())).encode()).digest()
