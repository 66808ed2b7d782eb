"""The stored grant against the one in hand: take it over, or see that it is still the one that we hold."""

from dataclasses import replace

from proxy import logs
from proxy.store import Damaged, StoreError, UnsafeFile, WrongKey
from proxy.tokens.book import Book
from proxy.tokens.grant import Event, Grant, State
from proxy.tokens.holding import Holding

OLDER_STORE = "the store holds an older token than bearerd: was it replaced or restored?"

log = logs.get("tokens")


async def adopt(held: Holding, book: Book, stored: Grant | None, event: Event | None = None) -> None:
    """Take over what was read from the store. `StoreError`: nothing has changed."""
    verdict = await book.verdict(stored.token_hash) if stored and stored.refresh_token else None
    if event is not None:
        held.see(event)
    stranger = held.stranger(stored) if stored else None
    if stored is not None and stranger:
        # Its token must not be posted to another login host: the refusal would be taken for its death.
        held.hold(replace(stored, refresh_token=None, access_token=None, origin=None))
        held.enter(State.NONE, stranger)
        return
    # What is minted without a login belongs to a place, too.
    held.hold(replace(stored or Grant(held.name, issuer=held.issuer), login=held.login.name))
    if stored is None and held.terms.minting:
        held.enter(State.DUE, "the first token is being asked for")
    elif held.grant.refresh_token is None and held.grant.access_token is None:
        held.enter(State.NONE, "revoked" if stored else "never logged in")
    elif verdict is not None:
        held.enter(State.NEEDS_LOGIN, verdict)
    else:
        held.enter(State.FRESH, "")
        held.watch(held.clock.now())


async def row_is_ours(held: Holding, book: Book) -> bool:
    """Read the row past every cache: what is posted must be what the store holds. False: nothing to post."""
    mine = (held.grant.generation, held.grant.token_hash)
    try:
        stored = await book.read()
        theirs = (stored.generation, stored.token_hash) if stored else (0, "")
        if theirs == mine:
            return True
    except (Damaged, WrongKey, UnsafeFile) as error:
        held.back_off(f"nothing is redeemed while a person must look at the store: {error}")
        return False
    except StoreError as error:
        # The journal can hold the answer until the store is back. The lock says that nobody else has moved the row.
        if held.last_call(held.clock.now()):
            log.error("redeeming without the store", grant=held.name, reason=str(error))
            return True
        held.back_off(f"nothing is redeemed while the store can't be read: {error}")
        return False
    if theirs[0] < mine[0]:
        held.see(Event.NOT_CONFIGURED, OLDER_STORE)
        return False
    try:
        await adopt(held, book, stored, Event.PEER_IS_NEWER)
    except StoreError as error:
        held.back_off(f"the store holds a newer token and can't be read whole: {error}")
    return False
