"""One redemption of a token or a code: post it, keep the raw answer, then read it. Never in another order."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from proxy import logs
from proxy.brokers import AnswerRule, Broker
from proxy.clock import Clock, Now
from proxy.outbound import Lost, NotSent
from proxy.tokens.answer import Terms, read_answer, said
from proxy.tokens.grant import Event, Grant
from proxy.tokens.journal import Answer, Journal, JournalError, Slot
from proxy.tokens.oauth import Exchange, Mint, RawAnswer, Wish


class Redeems(Protocol):
    """What a rotation needs of a token endpoint (`oauth.TokenEndpoint`)."""

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is posted, and what the answer will become the next generation of.

    For a login, `before` is the grant as it will be after it: with the new lineage, and the pasted token if it is one.
    `wish` is None for an answer that the journal kept: what was posted is known by its hash only.
    """

    before: Grant
    wish: Wish | None
    login: bool
    number: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a redemption ended. `grant` is there only with `ANSWER_KEPT`.

    `counts` marks a refusal of ours rather than an outage: too many in a row stop the grant. `unkept` is the answer if
    the journal failed after it had come: memory is then the only place that has it.
    """

    event: Event
    reason: str = ""
    grant: Grant | None = None
    refused_host: str | None = None
    retry_after: float | None = None
    counts: bool = False
    unkept: RawAnswer | None = None


async def redeem(
    attempt: Attempt,
    wish: Wish,
    slot: Slot | None,
    *,
    endpoint: Redeems,
    journal: Journal,
    broker: Broker,
    terms: Terms,
    clock: Clock,
) -> Outcome:
    """Steps 6 to 8 of a rotation. Does not raise for what can go wrong.

    `slot` already holds the durable intent; only what spends nothing does without.
    """
    arrival = _Arrival(journal, slot, clock)
    asked = arrival.now.boot
    try:
        raw = await endpoint.ask(wish, arrival)
    except NotSent as error:
        return Outcome(Event.NOTHING_SENT, str(error))
    except Lost as error:
        return _lost(wish, str(error))
    except Exception as error:  # noqa: BLE001  a fault of ours must not look as if nothing had been spent
        return _lost(wish, f"bearerd failed while a token request was out ({type(error).__name__})")
    kept = slot is None or await _make_durable(arrival, slot, raw)
    outcome = _aged(read(attempt, raw, broker=broker, terms=terms, now=arrival.now), arrival.now.boot - asked)
    return outcome if kept else replace(outcome, unkept=raw)


def _aged(outcome: Outcome, seconds: float) -> Outcome:
    """The broker may have counted the pair's life from any moment since the request: we count from the first.

    Half of its life is left in any case: a slow endpoint must not make a pair that is dead when it comes.
    """
    grant = outcome.grant
    if grant is None:
        return outcome
    spent = min(seconds, grant.life / 2)
    return replace(outcome, grant=replace(grant, refreshed=grant.refreshed - spent, expires=grant.expires - spent))


def _lost(wish: Wish | None, reason: str, retry_after: float | None = None) -> Outcome:
    """An answer that did not come, or told nothing. Where nothing is spent it is just asked for again."""
    event = Event.TRY_LATER if isinstance(wish, Mint) else Event.ANSWER_LOST
    return Outcome(event, reason, retry_after=retry_after if isinstance(wish, Mint) else None)


class _Arrival:
    """Writes the raw answer into its slot in the very turn of the loop that read its last byte.

    From then on a kill can't lose it. `now` is when that was; `written` is false if the disk failed.
    """

    def __init__(self, journal: Journal, slot: Slot | None, clock: Clock) -> None:
        self.journal, self.slot, self.now = journal, slot, clock.now()
        self.written = False
        self._clock = clock

    def __call__(self, raw: RawAnswer) -> None:
        self.now = self._clock.now()
        if self.slot is None:
            return
        with suppress(JournalError):
            self.journal.keep(self.slot, raw.status, raw.content_type, raw.body, self.now.wall)
            self.written = True


async def _make_durable(arrival: _Arrival, slot: Slot, raw: RawAnswer) -> bool:
    if arrival.written:
        with suppress(JournalError):
            await arrival.journal.sync(slot)
            return True
    return await keep(arrival.journal, slot, raw, arrival.now.wall)  # takes another place on the disk


async def keep(journal: Journal, slot: Slot, raw: RawAnswer, wall: float) -> bool:
    """Write the raw answer into its slot, durably; whether that worked."""
    try:
        journal.keep(slot, raw.status, raw.content_type, raw.body, wall)
        await journal.sync(slot)
    except JournalError:
        return False
    return True


def read_back(attempt: Attempt, answer: Answer, *, broker: Broker, terms: Terms, boot: float) -> Outcome:
    """Read an answer that a journal slot kept over a restart. `boot` is the present boot time in seconds."""
    raw = RawAnswer(answer.status, answer.content_type, answer.body)
    return read(attempt, raw, broker=broker, terms=terms, now=Now(answer.received_wall, boot))


def read(attempt: Attempt, raw: RawAnswer, *, broker: Broker, terms: Terms, now: Now) -> Outcome:
    """What an answer of the token endpoint means. The definition's rules come first, then RFC 6749's."""

    def says(rules: tuple[AnswerRule, ...]) -> bool:
        return any(rule.matches(raw.status, raw.content_type, raw.body) for rule in rules)

    wish = attempt.wish
    dead = says(broker.dead_token)
    if dead and not isinstance(wish, Mint):  # which posts no token that could be
        what = "the authorization code" if isinstance(wish, Exchange) else "the refresh token"
        return Outcome(Event.TOKEN_DEAD, _refusal(what, raw, attempt))
    if dead or says(broker.misconfigured):
        reason = _refusal("bearerd itself", raw, attempt)
        hint = f"; look at client_id and client_secret of grants.{attempt.before.name}" if "_client" in reason else ""
        return Outcome(Event.NOT_CONFIGURED, reason + hint)
    outage = says(broker.try_later) or raw.status >= 500 or raw.status == 429  # noqa: PLR2004
    if outage or not 200 <= raw.status < 300:  # noqa: PLR2004
        answered = f"the token endpoint answered {_told(raw, attempt)}"
        return Outcome(Event.TRY_LATER, answered, retry_after=raw.retry_after, counts=not outage)
    if raw.body.lstrip()[:1] == b"<":
        reason = "the token endpoint answered with a page instead of a token"
        return Outcome(Event.TRY_LATER, reason, retry_after=raw.retry_after)
    parsed = read_answer(raw.body, attempt.before, terms, now)
    if parsed is None:
        return _lost(wish, "the token endpoint's answer held no token", raw.retry_after)
    return Outcome(Event.ANSWER_KEPT, grant=parsed.grant, refused_host=parsed.refused_host)


def _refusal(what: str, raw: RawAnswer, attempt: Attempt) -> str:
    return f"the broker refused {what} ({_told(raw, attempt)})"


def _told(raw: RawAnswer, attempt: Attempt) -> str:
    """The status of an error, and what its body says. A body may repeat what was posted: that is taken out."""
    words = said(raw.body)
    secret = attempt.wish.secret if attempt.wish is not None else attempt.before.refresh_token
    if secret:
        words = words.replace(secret.reveal(), "***")
    return f"{raw.status}: {logs.redact(words)}" if words else str(raw.status)
