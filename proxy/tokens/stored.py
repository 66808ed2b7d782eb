"""The stored grant against the one in hand: take it over, or see that it is still the one that we hold."""

from dataclasses import replace
from enum import Enum, auto

from proxy import logs
from proxy.store import Damaged, Held, Spending, StoreError, UnsafeFile, WrongKey
from proxy.tokens.book import Book
from proxy.tokens.descent import stranger
from proxy.tokens.grant import NEXT, Event, Grant, State
from proxy.tokens.holding import Holding

OLDER_STORE = "the store holds an older token than bearerd: was it replaced or restored?"
PEER_LOST = "another bearerd ended inside a token request"

log = logs.get("tokens")


class Age(Enum):
    """What the store holds, against what we hold."""

    OLDER = auto()
    SAME = auto()
    NEWER = auto()


def age(stored: Grant | None, mine: Grant) -> Age:
    """An operator's decision counts for more than a count: after it, a store that was set back counts on from there."""
    if stored is None:
        return Age.OLDER if mine.generation else Age.SAME
    if (stored.generation, stored.token_hash) == (mine.generation, mine.token_hash):
        return Age.SAME
    if stored.generation < mine.generation and stored.epoch <= mine.epoch:
        return Age.OLDER
    return Age.NEWER


async def take_over(held: Holding, book: Book, stored: Grant | None, event: Event | None = None) -> None:
    """Take over what was read from the store. `StoreError`: nothing has changed."""
    verdict = await book.verdict(stored.token_hash) if stored and stored.refresh_token else None
    if event is not None:
        held.see(event)
    strange = stranger(held, stored) if stored else None
    if stored is not None and strange:
        # Its token must not be posted to another login host: the refusal would be taken for its death.
        held.hold(replace(stored, refresh_token=None, access_token=None, origin=None))
        held.enter(State.NONE, strange)
        return
    # What is minted without a login belongs to a place, too.
    known = stored or Grant(held.name, issuer=held.issuer)
    held.hold(known if known.login == held.login.name else replace(known, login=held.login.name))
    if stored is None and held.terms.minting:
        held.enter(State.DUE, "the first token is being asked for")
    elif held.grant.refresh_token is None and held.grant.access_token is None:
        held.enter(State.NONE, "revoked" if stored else "never logged in")
    elif verdict is not None:
        held.dead = held.grant.token_hash
        held.enter(State.NEEDS_LOGIN, verdict.reason)
        if verdict.pair_refused:
            held.reject()
    else:
        held.enter(State.FRESH, "")
        held.watch(held.clock.now())
        held.recheck()


async def look(held: Holding, book: Book) -> Age:
    """Learn what others have done to the row; nothing is redeemed for it. `StoreError`: nothing has changed."""
    stored, _ = await book.row()
    found = age(stored, held.grant)
    match found:
        case Age.NEWER:
            await take_over(held, book, stored, Event.PEER_IS_NEWER)
        case Age.OLDER:
            doubt_store(held)
        case Age.SAME:
            if held.state is State.QUARANTINED and not held.quarantine.holds(held.grant):
                held.see(Event.PEER_IS_NEWER)  # it was only this row, and the store has come back to it
            await _heed_verdict(held, book)
    return found


def doubt_store(held: Holding) -> None:
    """The row is older than what we hold: only an operator may say what counts. What is minted spends nothing."""
    if held.grant.refresh_token is not None and (held.state, Event.DOUBTFUL_STORE) in NEXT:
        log.error("the store was set back", grant=held.name, generation=held.grant.generation)
        held.see(Event.DOUBTFUL_STORE, OLDER_STORE)


async def _heed_verdict(held: Holding, book: Book) -> bool:
    """Whether the broker has refused this very token when a peer posted it."""
    if not book.shared or not held.grant.token_hash or (held.state, Event.TOKEN_DEAD) not in NEXT:
        return False
    verdict = await book.verdict(held.grant.token_hash)
    if verdict is None:
        return False
    held.dead = held.grant.token_hash
    held.see(Event.TOKEN_DEAD, verdict.reason)
    if verdict.pair_refused:
        held.reject()
    return True


async def row_is_ours(held: Holding, book: Book) -> bool | Held:
    """Read the row past every cache: what is posted must be what the store holds. False: nothing to post.

    `Held` tells of somebody else who is about to spend this very token.
    """
    try:
        stored, spending = await book.row()
    except (Damaged, WrongKey, UnsafeFile) as error:
        held.back_off(f"nothing is redeemed while a person must look at the store: {error}")
        return False
    except StoreError as error:
        # The journal can hold the answer until the store is back. The lock says that nobody else has moved the row.
        if held.last_call(held.clock.now()) and not book.shared:
            log.error("redeeming without the store", grant=held.name, reason=str(error))
            return True
        held.hinder(f"nothing is redeemed while the store can't be read: {error}")
        return False
    match age(stored, held.grant):
        case Age.OLDER:
            doubt_store(held)
            return False
        case Age.NEWER:
            await _take_newer(held, book, stored)
            return False
        case Age.SAME:
            return await _may_spend(held, book, spending)


async def _take_newer(held: Holding, book: Book, stored: Grant | None) -> None:
    try:
        await take_over(held, book, stored, Event.PEER_IS_NEWER)
    except StoreError as error:
        held.hinder(f"the store holds a newer token and can't be read whole: {error}")


async def _may_spend(held: Holding, book: Book, spending: Spending | None) -> bool | Held:
    try:
        if await _heed_verdict(held, book):
            return False
    except StoreError as error:
        held.hinder(f"nothing is redeemed while the store can't be read: {error}")
        return False
    if spending is None or spending.holder == book.holder:
        return True  # what became of a try of ours, the journal knows
    if spending.left > 0:
        return Held(held.name, spending.holder, spending.left)
    doubt = (held.grant.generation, spending.holder)
    if held.lost_by == doubt:
        return True  # it was uncertain, and this is what is to settle it
    held.lost_by = doubt
    held.see(Event.ANSWER_LOST, PEER_LOST)
    return False


async def mint_is_wanted(held: Holding, book: Book) -> bool:
    """Whether to ask for an access token that costs nothing; not if a peer's is there. It needs no store."""
    try:
        stored = await book.read()
        if age(stored, held.grant) is not Age.NEWER:
            return True
        await take_over(held, book, stored, Event.PEER_IS_NEWER)
    except (Damaged, WrongKey, UnsafeFile) as error:
        held.back_off(f"nothing is asked for while a person must look at the store: {error}")
    except StoreError as error:
        log.warning("asking for a token without the store", grant=held.name, reason=str(error))
        return True
    return False
