"""Who lends token pairs to calls: the keeper of a grant, or, in a process without custody, what stands in for it."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from proxy.clock import Now
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.grant import Grant, TokenPair

Found = TypeVar("Found")


async def found_by(find: Callable[[str], Awaitable[Found]], grant: str) -> Found:
    """What `find` gives for a grant or member. `Refusal` if the store fails, or there can be no such one."""
    try:
        return await find(grant)
    except StoreError as error:
        detail = f"grant {grant}: the store fails: {error}"
        raise Refusal("token-unavailable", detail, fix="see: bearerd store status", retry_after=1) from None
    except LookupError as error:
        detail, fix = f"The key is bound to {grant}, which there cannot be: {error}.", "use another client key"
        raise Refusal("login-needed", detail, fix=fix) from None


class Lender(Protocol):
    """One grant. What each of these does is said at `Keeper`."""

    name: str

    async def take(self) -> TokenPair: ...
    def take_now(self, now: Now | None = None) -> TokenPair | None: ...
    def give_back(self) -> None: ...
    async def renew(self, stale: int) -> TokenPair | None: ...
    def accepted(self, generation: int) -> None: ...
    @property
    def grant(self) -> Grant: ...
    @property
    def access_token(self) -> Secret | None: ...
