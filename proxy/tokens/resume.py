"""What a start makes of what a kill left in the journal: {old} or {new}, never neither. Nothing is redeemed here."""

from collections.abc import Iterable
from dataclasses import replace

from proxy import logs
from proxy.tokens.descent import anew, place_of, stranger
from proxy.tokens.grant import Grant, State
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Answer, Found, Intent, Journal
from proxy.tokens.rotation import Attempt, read_back
from proxy.tokens.settlement import Settlement

log = logs.get("tokens")


async def resume(found: Iterable[Found], held: Holding, settlement: Settlement, journal: Journal) -> None:
    """Settle a grant's slots against what was read from the store just before."""
    # By age: a doubt comes before the try that was to settle it. A wall clock may have been set back in between.
    for item in sorted(found, key=lambda item: (item.intent.generation, item.intent.wall)):
        strange = stranger(held, held.grant) is not None
        # What belongs to another place is not ours to judge; the login that was to replace it is.
        if not strange or (item.intent.login and item.intent.issuer == place_of(held)):
            await _resume(item, held, settlement, journal)


async def _resume(item: Found, held: Holding, settlement: Settlement, journal: Journal) -> None:
    grant, intent = held.grant, item.intent
    ours = intent.generation == grant.generation and (
        intent.login or (intent.lineage == grant.lineage and intent.token_hash == grant.token_hash)
    )
    # The store came back from a backup while the answer was not in it yet: what it holds is long spent. Unless a person
    # has decided since then what is to count.
    newer = intent.generation > grant.generation and intent.epoch >= grant.epoch
    if (ours or newer) and intent.issuer not in ("", place_of(held)):
        return  # it was for another login, and is kept for the day when that is configured again
    if item.answer is None and ours:
        await _resume_unanswered(item, held, settlement, journal)
    elif item.answer is None or not (ours or newer):
        # The store has moved on: the answer was committed, or a login replaced its lineage.
        await journal.free(item.slot)
    else:
        await _resume_answered(item, item.answer, held, settlement, anew=intent.login or newer)


async def _resume_answered(item: Found, answer: Answer, held: Holding, settlement: Settlement, *, anew: bool) -> None:
    attempt = Attempt(_before(held, item.intent), None, login=anew)
    boot = held.clock.now().boot
    outcome = read_back(attempt, answer, broker=held.broker, terms=held.terms, boot=boot)
    log.info("settling an answer from the journal", grant=held.name, outcome=outcome.event.name)
    await settlement.settle(outcome, item.slot, login=anew, resumed=True, climbs=True)


def _before(held: Holding, intent: Intent) -> Grant:
    """What the answer becomes the next generation of, which is above those of store and journal."""
    grant = held.grant
    generation, epoch = max(grant.generation, intent.generation), max(grant.epoch, intent.epoch)
    if intent.login:
        return replace(anew(held, intent.lineage, intent.wall, epoch), generation=generation)
    return replace(
        grant,
        generation=generation,
        lineage=intent.lineage,
        issuer=held.issuer,
        login=held.login.name,
        epoch=epoch,
    )


async def _resume_unanswered(item: Found, held: Holding, settlement: Settlement, journal: Journal) -> None:
    if item.intent.login:
        log.warning("a login was cut off; its token may be spent: log in with a new one", grant=held.name)
        await journal.free(item.slot)
    elif held.state is State.NEEDS_LOGIN:
        # The doubt was settled before the kill: the broker has refused this very token.
        await journal.free(item.slot)
    else:
        await settlement.doubt(item.slot)
        if held.state is not State.QUARANTINED:  # which the doubt does not end
            held.enter(State.UNCERTAIN, "bearerd was killed while a token request was out")
