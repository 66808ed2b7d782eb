"""What a person asks of a grant: a login, a try of a token that was doubted, an end. Each is the grant's one flight."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from proxy.brokers.definition import LoginKind
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.answer import sendable
from proxy.tokens.grant import NEXT, Event, State
from proxy.tokens.holding import Holding
from proxy.tokens.journal import JournalError
from proxy.tokens.oauth import Exchange, Mint, Plain, Refresh
from proxy.tokens.renewal import PEER_SPENDS, Renewal
from proxy.tokens.standing import Standing, fix, login_advice

# What each kind of login takes. A refresh token of the code flow may be brought along from elsewhere.
TAKES: Mapping[LoginKind, tuple[type, ...]] = {
    "refresh-token": (Refresh,),
    "code": (Exchange, Refresh),
    "client-credentials": (Mint,),
    "secret": (Plain,),
}

T = TypeVar("T")


class LoginFailed(Exception):
    """A login brought no token. The grant is as it was before. The text is for a person."""


class Alone(Protocol):
    """Does some work as the grant's one flight; `JournalError` and `StoreError` pass."""

    async def __call__(self, work: Callable[[], Awaitable[T]]) -> T: ...


class Errands:
    """Of one grant."""

    __slots__ = ("_alone", "_held", "_renewal")

    def __init__(self, held: Holding, renewal: Renewal, alone: Alone) -> None:
        self._held = held
        self._renewal = renewal
        self._alone = alone

    async def login(self, wish: Refresh | Exchange | Mint | Plain, lineage: str) -> Standing:
        """Log in by what a person, or the browser, brought. Raises `LoginFailed`; the old grant then stands.

        Refresh tokens and codes are spent through the same steps as in a rotation; a plain secret is posted nowhere.
        `lineage` names this login among all logins.
        """
        held = self._held
        if not isinstance(wish, TAKES[held.login.kind]):
            raise LoginFailed(f"grant {self._held.name} logs in by '{held.login.name}', which takes something else")
        if isinstance(wish, Plain):
            return await self._install(wish, lineage)
        try:
            outcome = await self._alone(lambda: self._renewal.login(wish, lineage))
        except JournalError as error:
            raise LoginFailed(f"nothing was sent, because the answer could not be saved: {error}") from None
        except StoreError as error:
            raise LoginFailed(f"nothing was sent, because the store fails: {error}") from None
        if outcome.event is not Event.ANSWER_KEPT:
            advice = login_advice(outcome, wish, broker=held.broker, environment=held.environment, login=held.login)
            raise LoginFailed(advice)
        return self._held.standing()

    async def adopt(self) -> Standing:
        """An operator says that the newest token held here may be tried, once. How the grant stands after that.

        For a grant that is quarantined, needs a login, or has stopped. Raises `LoginFailed` if nothing was tried.
        """
        held = self._held
        if held.state is State.NONE:
            raise LoginFailed(f"grant {self._held.name} is not logged in; {fix(State.NONE, self._held.name)}")
        if (held.state, Event.ADOPTED) not in NEXT:
            raise LoginFailed(f"grant {self._held.name} is {held.state.value}: there is nothing to adopt")
        if not held.renewable:
            raise LoginFailed(
                f"grant {self._held.name} holds nothing that could be tried; {fix(State.NEEDS_LOGIN, self._held.name)}"
            )
        try:
            tried = await self._alone(self._renewal.adopt)
        except (JournalError, StoreError) as error:
            raise LoginFailed(f"nothing was tried: {error}") from None
        if not tried:
            raise LoginFailed(f"nothing was tried: {PEER_SPENDS}")
        return self._held.standing()

    async def _install(self, plain: Plain, lineage: str) -> Standing:
        parts = self._held.login.placement.parts
        if not sendable(plain.secret, parts):
            form = "first:second, both" if parts > 1 else "one word"
            raise LoginFailed(f"that is no credential of this login: it is {form} of printable ASCII without spaces")
        try:
            await self._alone(lambda: self._renewal.install(plain.secret, lineage))
        except StoreError as error:
            raise LoginFailed(f"nothing has changed, because the store fails: {error}") from None
        return self._held.standing()

    async def forget(self, tell: Callable[[Secret], Awaitable[None]] | None = None) -> Secret | None:
        """Give the authorization up: no token is kept. The generation counts on. Raises `StoreError`.

        Returns what was held last: the access token or, without one, the refresh token. `tell` the broker of it: that
        is called while nothing can renew it, and before it is forgotten.
        """
        return await self._alone(lambda: self._renewal.give_up(tell))
