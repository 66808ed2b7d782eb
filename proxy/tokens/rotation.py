"""One redemption of a refresh token: post it, keep the raw answer, then read it. Never in another order."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from proxy.brokers import Broker
from proxy.clock import Clock, Now
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.tokens.grant import Event, Grant, Terms, read_answer
from proxy.tokens.journal import Answer, Journal, JournalError, Slot
from proxy.tokens.oauth import RawAnswer


class Redeems(Protocol):
    """What a rotation needs of a token endpoint (`oauth.TokenEndpoint`)."""

    async def refresh(self, refresh_token: Secret, arrived: Callable[[RawAnswer], None]) -> RawAnswer: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is posted, and what the answer will become the next generation of.

    A login posts a pasted token: `before` is then the grant as it will be after it, with the new lineage and token.
    """

    before: Grant
    login: bool
    number: int = 1

    @property
    def refresh_token(self) -> Secret:
        if self.before.refresh_token is None:
            raise LookupError(f"grant {self.before.name} holds no refresh token")
        return self.before.refresh_token


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
    attempt: Attempt, slot: Slot, *, endpoint: Redeems, journal: Journal, broker: Broker, terms: Terms, clock: Clock
) -> Outcome:
    """Steps 6 to 8 of a rotation; `slot` already holds the durable intent. Does not raise for what can go wrong."""
    arrival = _Arrival(journal, slot, clock)
    try:
        raw = await endpoint.refresh(attempt.refresh_token, arrival)
    except NotSent as error:
        return Outcome(Event.NOTHING_SENT, str(error))
    except Lost as error:
        return Outcome(Event.ANSWER_LOST, str(error))
    except Exception as error:  # noqa: BLE001  a fault of ours must not look as if nothing had been spent
        return Outcome(Event.ANSWER_LOST, f"bearerd failed while a token request was out ({type(error).__name__})")
    kept = await _make_durable(arrival, raw)
    outcome = read(attempt, raw, broker=broker, terms=terms, now=arrival.now)
    return outcome if kept else replace(outcome, unkept=raw)


class _Arrival:
    """Writes the raw answer into its slot in the very turn of the loop that read its last byte.

    From then on a kill can't lose it. `now` is when that was; `written` is false if the disk failed.
    """

    def __init__(self, journal: Journal, slot: Slot, clock: Clock) -> None:
        self.journal, self.slot, self.now = journal, slot, clock.now()
        self.written = False
        self._clock = clock

    def __call__(self, raw: RawAnswer) -> None:
        self.now = self._clock.now()
        with suppress(JournalError):
            self.journal.keep(self.slot, raw.status, raw.content_type, raw.body, self.now.wall)
            self.written = True


async def _make_durable(arrival: _Arrival, raw: RawAnswer) -> bool:
    if arrival.written:
        with suppress(JournalError):
            await arrival.journal.sync(arrival.slot)
            return True
    return await keep(arrival.journal, arrival.slot, raw, arrival.now.wall)  # takes another place on the disk


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

    def says(rules: tuple[object, ...]) -> bool:
        return any(rule.matches(raw.status, raw.content_type, raw.body) for rule in rules)  # type: ignore[attr-defined]

    if says(broker.dead_token):
        return Outcome(Event.TOKEN_DEAD, f"the broker refused the refresh token ({raw.status})")
    if says(broker.misconfigured):
        return Outcome(Event.NOT_CONFIGURED, f"the broker refused bearerd itself ({raw.status})")
    if says(broker.try_later) or raw.status >= 500 or raw.status == 429:  # noqa: PLR2004
        return Outcome(Event.TRY_LATER, f"the token endpoint answered {raw.status}", retry_after=raw.retry_after)
    if not 200 <= raw.status < 300:  # noqa: PLR2004
        reason = f"the token endpoint answered {raw.status}"
        return Outcome(Event.TRY_LATER, reason, retry_after=raw.retry_after, counts=True)
    if raw.body.lstrip()[:1] == b"<":
        reason = "the token endpoint answered with a page instead of a token"
        return Outcome(Event.TRY_LATER, reason, retry_after=raw.retry_after)
    parsed = read_answer(raw.body, attempt.before, terms, now)
    if parsed is None:
        return Outcome(Event.ANSWER_LOST, "the token endpoint's answer held no token")
    return Outcome(Event.ANSWER_KEPT, grant=parsed.grant, refused_host=parsed.refused_host)
