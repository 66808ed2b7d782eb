"""Who is asking: client keys, wherever the brokers' SDKs put them, and what each client may reach.

A key is `brd_`, 256 random bits and a checksum, so that scanners find it and a typing error is told from a wrong key.
The store holds only its SHA-256: with 256 random bits there is nothing to guess, and a look-up by digest leaks no
timing that helps to build a key.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from proxy.errors import Refusal
from proxy.secret import Secret

KEY_PREFIX = "brd_"

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES = 32
_BODY = 43  # digits of base 62 that hold 256 bits
_CHECK = 6  # digits of base 62 that hold a CRC-32
_LENGTH = len(KEY_PREFIX) + _BODY + _CHECK

_MOST_BOUND = 4096  # clients of bound keys that are kept made up
_TOKEN = re.compile(rb"[!-~]+")
_HOW = "send the key of `bearerd clients add NAME` as `Authorization: Bearer KEY`"


def new_key(random: Callable[[int], bytes]) -> Secret:
    """A new client key. `random(n)` gives n unpredictable bytes (`secrets.token_bytes`)."""
    text = KEY_PREFIX + _base62(int.from_bytes(random(_RANDOM_BYTES), "big"), _BODY)
    return Secret(text + _checksum(text))


def key_fault(text: str) -> str | None:
    """Why `text` cannot be one of our keys, in one clause, or None if it could be. Never quotes it."""
    if not text.startswith(KEY_PREFIX):
        return f"it does not start with {KEY_PREFIX}"
    if len(text) != _LENGTH:
        return f"it is {len(text)} characters long, and a key has {_LENGTH}"
    if not (text.isascii() and text[len(KEY_PREFIX) :].isalnum()):  # the digits of base 62
        return "it holds a character that no key has"
    if _checksum(text[:-_CHECK]) != text[-_CHECK:]:
        return "its checksum does not fit, so it was mistyped or cut"
    return None


def digest(key: str) -> str:
    """What the store keeps of a key: its SHA-256, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """What a caller offered as its key. Not a `Secret`: the redactor would have to remember what any stranger sends."""

    text: str = field(repr=False)

    def reveal(self) -> str:
        return self.text

    def __str__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Client:
    """Who is asking. `rights` maps a mount to the scopes that it may use there; None: all that the mounts allow.

    `grants` are the members (`GRANT/PERSON`) that the key is bound to: on mounts of such a grant it stands for that one
    person, and on others for nobody. Without any it uses what the mounts name.
    """

    name: str
    rights: Mapping[str, frozenset[str]] | None
    grants: tuple[str, ...] = ()


LOCAL = Client("local", None)  # anybody, where the configuration says `clients: none`


# Where a key may stand. None of these headers ever goes on to a broker, whatever a definition says.
CREDENTIAL_HEADERS = frozenset(
    (b"authorization", b"x-api-key", b"apca-api-key-id", b"apca-api-secret-key", b"proxy-authorization", b"cookie")
)
_PLAIN_HEADERS = (b"x-api-key", b"apca-api-secret-key")


def presented(headers: Iterable[tuple[bytes, bytes]]) -> PresentedKey | None:
    """The key that the headers carry, in one of the places where the brokers' SDKs put their credential.

    `Authorization` Bearer; Basic, as user or password; the secret of the pair `APCA-API-KEY-ID` and
    `APCA-API-SECRET-KEY`, whose id says nothing; `X-Api-Key`. An empty value is none: SDKs send the headers of the
    credential that they were not given, too. None if there is no key. Raises `Refusal("unknown-client")` if two
    disagree or one cannot be read.
    """
    found: set[str] = set()
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"authorization":
            found.update(map(_plain, _from_authorization(value.strip(b" \t"))))
        elif lowered in _PLAIN_HEADERS and (text := value.strip(b" \t")):
            found.add(_plain(text))
    if len(found) > 1:
        raise _unknown("The call carries two client keys that differ.")
    return PresentedKey(found.pop()) if found else None


@dataclass(slots=True)
class Uses:
    """When keys (by digest) and clients (by name) were last let in, in Unix time. Somebody else takes notes out."""

    keys: dict[str, float] = field(default_factory=dict, repr=False)
    clients: dict[str, float] = field(default_factory=dict)


class Keyring:
    """All clients and the digests of their keys. With `open_to_all` every caller is `local` and needs no key.

    `digests` (digest → client), `bindings` (digest → members) and `expiries` (digest → Unix time) may change in place:
    a key counts as long as it is there and not past its end. `uses` is told of every key that was let in.
    """

    def __init__(
        self,
        digests: Mapping[str, str],
        clients: Mapping[str, Client],
        *,
        bindings: Mapping[str, tuple[str, ...]] | None = None,
        expiries: Mapping[str, float] | None = None,
        uses: Uses | None = None,
        open_to_all: bool = False,
    ) -> None:
        self._digests = digests
        self._bindings = {} if bindings is None else bindings
        self._expiries = {} if expiries is None else expiries
        self._uses = Uses() if uses is None else uses
        self._clients = dict(clients)
        self._bound: dict[str, Client] = {}
        self._open = open_to_all

    @property
    def open_to_all(self) -> bool:
        return self._open

    def identify(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> Client:
        """The client behind a request's headers at `now` (Unix time), or `Refusal("unknown-client")`."""
        return self._admitted(self.fingerprint(headers), now)

    def identify_key(self, key: str | None, now: float) -> Client:
        """The same for a key that came another way (the emulated token endpoint)."""
        return self._admitted(None if self._open else fingerprint(key), now)

    def _admitted(self, digest: str | None, now: float) -> Client:
        found = self.holder(digest, now)
        self.used(digest, found, now)
        return found

    def fingerprint(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The digest of the key in these headers, None where nobody needs one. `Refusal("unknown-client")` without it.

        That depends on the headers and on `open_to_all` alone, and may be kept with them; whose key it is, and whether
        it still counts, says `holder`, each time.
        """
        if self._open:
            return None
        key = presented(headers)
        return fingerprint(key.reveal() if key else None)

    def used(self, fingerprint: str | None, client: Client, now: float) -> None:
        """Note that a key was let in."""
        if fingerprint is not None:
            uses = self._uses
            uses.keys[fingerprint] = uses.clients[client.name] = now

    def holder(self, fingerprint: str | None, now: float) -> Client:
        """The client whose key has this digest, as long as the key counts; else `Refusal("unknown-client")`."""
        if self._open:
            return LOCAL
        digest = fingerprint or ""
        name = self._digests.get(digest)
        if name is None:
            raise _unknown("The call's client key is not known here; it may have been removed.")
        client = self._clients.get(name)
        if client is None:
            raise _unknown(
                "The call's client key belongs to a client that the configuration no longer lists.",
                fix="add the client under `clients:`, or remove its key with `bearerd clients remove NAME`",
            )
        ends = self._expiries.get(digest)
        if ends is not None and ends <= now:
            raise _expired(name, ends)
        grants = self._bindings.get(digest)
        if grants is None:
            return client
        known = self._bound.get(digest)
        if known is None or known.grants is not grants or known.name != name:  # the mappings change in place
            if len(self._bound) >= _MOST_BOUND:
                self._bound.clear()
            known = self._bound[digest] = Client(name, client.rights, grants)
        return known

    def __repr__(self) -> str:
        return f"Keyring(clients={sorted(self._clients)}, keys={len(self._digests)}, open_to_all={self._open})"


def fingerprint(key: str | None) -> str:
    """The digest of a key that could be one of ours; else `Refusal("unknown-client")`."""
    if not key:
        raise _unknown("The call carries no client key.")
    if fault := key_fault(key):
        raise _unknown(f"The call's client key is none of bearerd's: {fault}.")
    return digest(key)


def check_holder(client: Client, names: frozenset[str]) -> None:
    """Raise unless a caller's certificate, which holds these `names`, is the one of the client whose key it sent."""
    if client.name not in names:
        detail = f"The key is the client {client.name}'s, and the connection's certificate does not hold that name."
        fix = f"use a certificate with the common name (or DNS name) {client.name}, or the key of whom it names"
        raise _unknown(detail, fix=fix)


def allowed(client: Client, mount: str, mount_scopes: frozenset[str], scope: str) -> str | None:
    """None if the client may use `scope` on `mount`, else a sentence that says whose list lacks it."""
    if scope not in mount_scopes:
        return f"The mount {mount} does not allow the scope {scope}."
    if client.rights is None:
        return None
    if mount not in client.rights:
        return f"The client {client.name} has no rights on the mount {mount}."
    if scope not in client.rights[mount]:
        return f"The client {client.name} does not have the scope {scope} on the mount {mount}."
    return None


def grant_of(name: str) -> str:
    """The configured grant that a member (`GRANT/PERSON`) belongs to; of any other grant itself."""
    return name.partition("/")[0]


def grant_for(client: Client, grant: str) -> str:
    """Whose grant a call uses on a mount of `grant`. `Refusal("scope-denied")` if the key is bound to others only."""
    if not client.grants:
        return grant
    for member in client.grants:
        if grant_of(member) == grant:
            return member
    detail = f"The key is bound to {' and '.join(client.grants)}; this mount belongs to the grant {grant}."
    fix = f"use a key of its own for it: bearerd clients add {client.name} --grant {grant}/PERSON"
    raise Refusal("scope-denied", detail, fix=fix)


def _from_authorization(value: bytes) -> list[bytes]:
    scheme, _, rest = value.partition(b" ")
    rest = rest.strip(b" ")
    match scheme.lower():
        case b"":
            return []
        case b"bearer":
            return [rest] if rest else []
        case b"basic":
            return _from_basic(rest)
        case _:
            raise _unknown("The Authorization header is neither Bearer nor Basic.")


def _from_basic(rest: bytes) -> list[bytes]:
    """Whichever part looks like a key; if none does, the password, or else the user."""
    try:
        user, colon, password = base64.b64decode(rest, validate=True).partition(b":")
    except binascii.Error:
        raise _unknown("The Authorization header is not readable as Basic.") from None
    if rest and not colon:
        raise _unknown("The Authorization header is not readable as Basic.")
    parts = [part for part in (password, user) if part]
    return [part for part in parts if part.startswith(KEY_PREFIX.encode())] or parts[:1]


def _plain(value: bytes) -> str:
    if not _TOKEN.fullmatch(value):
        raise _unknown("The client key holds bytes that no key has.")
    return value.decode("ascii")


def _expired(client: str, ends: float) -> Refusal:
    moment = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return _unknown(f"The call's client key expired at {moment}.", fix=f"make a new one: bearerd clients add {client}")


def _unknown(detail: str, *, fix: str = _HOW) -> Refusal:
    return Refusal("unknown-client", detail, fix=fix)


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, rest = divmod(number, len(_DIGITS))
        digits = _DIGITS[rest] + digits
    return digits
