"""The authorization code flow up to the code (RFC 6749, section 4.1): begin a login, take its answer once.

A login that somebody has begun rests sealed in the store, one for each grant, so that any process can complete it. The
first answer that names its `state` ends it, whatever else that answer holds: no answer counts twice, and none can be
corrected. `state` has 256 random bits and is compared in constant time.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from proxy.brokers.definition import Endpoints, Login
from proxy.clock import Clock, Now
from proxy.secret import Secret
from proxy.store.vault import Entry, Vault
from proxy.tokens.journal import boot_id
from proxy.tokens.oauth import Exchange
from proxy.tokens.redirect import Redirect, Unreadable, of_one_origin, place, read

PREFIX = "login/"
LONGEST_CODE = 2048
ON_THE_PAGE = 600.0  # seconds that a person may take there, however short-lived the broker's codes are
# RFC 6749, section 4.1.2.1. Any other word is not repeated: whoever sends the browser here has chosen it.
ERRORS: Mapping[str, str] = {
    "access_denied": "the login was declined on the broker's page",
    "invalid_request": "the broker found the request malformed (invalid_request)",
    "unauthorized_client": "the broker does not let this client_id log in so (unauthorized_client)",
    "unsupported_response_type": "the broker offers no code to this client_id (unsupported_response_type)",
    "invalid_scope": "the broker does not know one of the scopes, or keeps it from this client_id (invalid_scope)",
    "server_error": "the broker failed (server_error)",
    "temporarily_unavailable": "the broker is busy or under repair (temporarily_unavailable)",
}
NOBODY_WAITS = "no login waits for this answer: it was never begun, or a newer one has taken its place"


class LoginRefused(Exception):
    """An answer that completes no login; nothing was sent, and the grant is as it was.

    The text is for a person and holds nothing of the answer. `grant` is the login that has ended by it, if one has, and
    `id` that login's id.
    """

    def __init__(self, message: str, *, grant: str | None = None, id: str | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.grant = grant
        self.id = id


@dataclass(frozen=True, slots=True)
class Wanted:
    """A login that can be begun: for which grant, how, as which application, back to which address, for what."""

    grant: str
    login: Login
    endpoints: Endpoints
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """A login under way. `authorize_url` is for the person who logs in only: it holds the state."""

    grant: str
    id: str
    authorize_url: str = field(repr=False)
    redirect_uri: str
    expires_in: float


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer that passed: what is left to do is to exchange its code."""

    grant: str
    id: str
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Pending:
    """What is kept of a login that was begun. Times are those of `Now`, which `boot_id` says the boot of."""

    id: str
    state: str = field(repr=False)
    verifier: str | None = field(repr=False)
    redirect_uri: str
    authorize_url: str
    client_id: str
    wall: float
    boot: float
    boot_id: str
    life: float

    @classmethod
    def of(cls, entry: Entry | None) -> "Pending | None":
        """None if nothing is kept, or what is kept was used."""
        if entry is None or "state" not in entry.value:
            return None
        return cls(**entry.value)

    def left(self, now: Now, boot: str) -> float:
        """Seconds until it is too late; 0 or less, and it is. Of the two clocks, the earlier end counts."""
        age = now.wall - self.wall
        if boot == self.boot_id:
            age = max(age, now.boot - self.boot)
        # A wall clock that was set back over a restart tells nothing.
        return self.life - age if age >= 0 else 0.0


class Logins:
    """The logins under way. Every method raises `StoreError`. `token` gives that many random bytes as text."""

    def __init__(
        self,
        vault: Vault,
        clock: Clock,
        *,
        token: Callable[[int], str] = secrets.token_urlsafe,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._vault = vault
        self._clock = clock
        self._token = token
        self._boot = boot

    async def begin(self, wanted: Wanted) -> Begun:
        """Begin a login; an earlier one of the same grant ends. Raises `LookupError` without an authorize address."""
        if wanted.endpoints.authorize_url is None:
            raise LookupError(f"grant {wanted.grant} has no authorize address")
        now = self._clock.now()
        # Members are many: the state names whose it is, so that nobody has to look through all that are under way.
        suffix = f".{wanted.grant}" if "/" in wanted.grant else ""
        state, verifier = Secret(self._token(32) + suffix), Secret(self._token(48))
        pending = Pending(
            id=self._token(16),
            state=state.reveal(),
            verifier=verifier.reveal() if wanted.login.pkce else None,
            redirect_uri=wanted.redirect_uri,
            authorize_url=wanted.endpoints.authorize_url,
            client_id=wanted.client_id,
            wall=now.wall,
            boot=now.boot,
            boot_id=self._boot(),
            # A code's life begins once the person is done on the broker's page, and nobody tells us when that is.
            life=max(wanted.login.code_life, ON_THE_PAGE),
        )
        record = PREFIX + wanted.grant
        entry = await self._vault.get(record)
        while await self._vault.put(record, expected=entry.generation if entry else 0, value=asdict(pending)) is None:
            entry = await self._vault.get(record)
        return Begun(wanted.grant, pending.id, _authorize(wanted, pending), wanted.redirect_uri, pending.life)

    async def waiting(self, grant: str) -> tuple[str, float] | None:
        """The id of the grant's login under way and the seconds that it has left; None if there is none."""
        pending = Pending.of(await self._vault.get(PREFIX + grant))
        return (pending.id, pending.left(self._clock.now(), self._boot())) if pending else None

    async def end(self, grant: str) -> None:
        """Whoever still holds the state of the grant's login under way cannot complete it any more."""
        entry = await self._vault.get(PREFIX + grant)
        pending = Pending.of(entry)
        if entry is not None and pending is not None:
            # Without effect if an answer has just used it: then there is nothing left to end.
            await self._vault.put(PREFIX + grant, expected=entry.generation, value={"used": _digest(pending.state)})

    async def take(self, answer: str, known: Mapping[str, Wanted], *, grant: str | None = None) -> Taken:
        """End the login that `answer` (the redirect's address, or its query) belongs to, and judge the answer.

        `known` are the grants as they are configured now; `grant` says that the answer was given as that one's.
        Raises `LoginRefused`.
        """
        try:
            redirect = read(answer)
            state = redirect.one("state")
        except Unreadable as error:
            raise LoginRefused(str(error)) from None
        if not state:
            raise LoginRefused("the address holds no `state`: it is not what the broker's page led back to")
        owner, entry, pending = await self._owner(state, known)
        # A row that is kept counts on, so that no later login can be taken for this one.
        used = {"used": _digest(state)}
        if await self._vault.put(PREFIX + owner, expected=entry.generation, value=used) is None:
            raise LoginRefused("this answer was used already")
        try:
            return Taken(owner, pending.id, self._judge(redirect, pending, known[owner], grant))
        except (Unreadable, LoginRefused) as error:
            raise LoginRefused(str(error), grant=owner, id=pending.id) from None

    async def _owner(self, state: str, known: Mapping[str, Wanted]) -> tuple[str, Entry, Pending]:
        """Whose state it is: every login that it may belong to is compared, each in constant time."""
        found: list[tuple[str, Entry, Pending]] = []
        used = False
        for owner in known:
            entry = await self._vault.get(PREFIX + owner)
            pending = Pending.of(entry)
            if entry is None:
                continue
            if pending is None:
                used |= hmac.compare_digest(entry.value["used"], _digest(state))
            elif hmac.compare_digest(pending.state.encode(), state.encode()):
                found.append((owner, entry, pending))
        if not found:
            raise LoginRefused("this answer was used already" if used else NOBODY_WAITS)
        return found[0]

    def _judge(self, redirect: Redirect, pending: Pending, wanted: Wanted, grant: str | None) -> Exchange:
        if grant not in (None, wanted.grant):
            raise LoginRefused(f"this answer belongs to the login of {wanted.grant}, not of {grant}")
        if (wanted.endpoints.authorize_url, wanted.client_id) != (pending.authorize_url, pending.client_id):
            raise LoginRefused("the configuration has changed since the login was begun")
        if pending.left(self._clock.now(), self._boot()) <= 0:
            raise LoginRefused(f"the answer is late: a login may take {pending.life / 60:.0f} minutes")
        if redirect.place is not None and redirect.place != place(pending.redirect_uri):
            raise LoginRefused("the answer came to another address than the broker was told")
        issuer, error, code = (redirect.one(name) for name in ("iss", "error", "code"))
        if issuer is not None and not of_one_origin(
            issuer, (wanted.endpoints.authorize_url, wanted.endpoints.token_url)
        ):
            raise LoginRefused("the answer names another issuer than the broker that was asked")
        if error is not None:
            raise LoginRefused(
                ERRORS.get(error, "the broker refused the login, for a reason that has no standard name")
            )
        if not code or len(code) > LONGEST_CODE or not code.isascii() or not code.isprintable():
            raise LoginRefused("the address holds no usable `code`")
        return Exchange(
            code=Secret(code),
            redirect_uri=None if "redirect_uri" in wanted.login.omits else pending.redirect_uri,
            verifier=Secret(pending.verifier) if pending.verifier is not None else None,
        )


def member_named(answer: str) -> str | None:
    """The member (`GRANT/PERSON`) that an answer's state names; None if it names none, or cannot be read."""
    try:
        state = read(answer).one("state")
    except Unreadable:
        return None
    name = (state or "").partition(".")[2]
    return name if "/" in name else None


def _authorize(wanted: Wanted, pending: Pending) -> str:
    login = wanted.login
    ours: dict[str, Any] = {
        "response_type": "code",
        "client_id": wanted.client_id,
        "redirect_uri": wanted.redirect_uri,
        "scope": login.scope_separator.join(wanted.scopes),
        "state": pending.state,
    }
    if pending.verifier is not None:
        ours |= {"code_challenge": challenge(pending.verifier), "code_challenge_method": "S256"}
    kept = {name: text for name, text in ours.items() if text and name not in login.omits}
    query = urlencode(dict(wanted.endpoints.authorize_fields) | kept, quote_via=quote)
    return f"{pending.authorize_url}{'&' if '?' in pending.authorize_url else '?'}{query}"


def challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _digest(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
