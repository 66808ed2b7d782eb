"""What an answer of the token endpoint means, and that it is kept before anybody reads it."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.brokers import HostPattern, builtin
from proxy.clock import Now
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.store.disk import MemoryDisk
from proxy.store.sealing import Sealer
from proxy.tokens.answer import Terms
from proxy.tokens.grant import Event, Grant
from proxy.tokens.journal import Answer, Intent, Journal
from proxy.tokens.oauth import Exchange, Mint, RawAnswer, Refresh, Wish
from proxy.tokens.rotation import Attempt, Outcome, read, read_back, redeem
from tests.tokens.support import LoopClock, TimelessJournal

QUESTRADE = builtin("questrade")
TERMS = Terms((HostPattern.parse("api##.iq.questrade.com"),), 60.0, 3 * 86400.0, api_server_in_answer=True)
WISH = Refresh(Secret("R-old"))
BEFORE = Grant("questrade", 4, "login-1", "questrade/live", WISH.token)
ATTEMPT = Attempt(BEFORE, WISH, login=False)
PAIR = b'{"access_token":"A","api_server":"https://api01.iq.questrade.com/","expires_in":1800,"refresh_token":"R"}'
MAINTENANCE = b"<!DOCTYPE html><html><body>We're making some changes</body></html>"
SEALER = Sealer(bytes(range(32)), "store")


@pytest.mark.parametrize(
    ("status", "body", "event", "counts"),
    [
        (200, PAIR, Event.ANSWER_KEPT, False),
        (201, PAIR, Event.ANSWER_KEPT, False),
        (200, PAIR[:-1], Event.ANSWER_KEPT, False),
        (200, PAIR[:40], Event.ANSWER_LOST, False),
        (200, b"", Event.ANSWER_LOST, False),
        (204, b"", Event.ANSWER_LOST, False),
        (200, b"{}", Event.ANSWER_LOST, False),
        (200, b"Bad Request", Event.ANSWER_LOST, False),
        (200, b"  \r\n<html>sorry", Event.TRY_LATER, False),
        (200, MAINTENANCE, Event.TRY_LATER, False),
        (400, b"Bad Request", Event.TOKEN_DEAD, False),
        (400, b" Bad Request\r\n", Event.TOKEN_DEAD, False),
        (400, b'{"Bad Request": "Token is invalid or expired."}', Event.TOKEN_DEAD, False),
        (400, b'{"error": "invalid_grant"}', Event.TOKEN_DEAD, False),
        (400, b"Bad Reques", Event.TRY_LATER, True),
        (400, b"<html>Bad Request", Event.TRY_LATER, True),
        (400, b"", Event.TRY_LATER, True),
        (401, b"Bad Request", Event.TRY_LATER, True),
        (403, b"<html>blocked", Event.TRY_LATER, True),
        (404, PAIR, Event.TRY_LATER, True),
        (302, b"", Event.TRY_LATER, True),
        (429, b"", Event.TRY_LATER, False),
        (500, b"Bad Request", Event.TRY_LATER, False),
        (503, MAINTENANCE, Event.TRY_LATER, False),
        (403, MAINTENANCE, Event.TRY_LATER, False),
        (599, b"", Event.TRY_LATER, False),
        (400, b'{"error": "invalid_client"}', Event.NOT_CONFIGURED, False),
        (401, b'{"error": "unauthorized_client"}', Event.NOT_CONFIGURED, False),
        (400, b'{"error": "unsupported_grant_type"}', Event.NOT_CONFIGURED, False),
        (400, b'{"error": "invalid_scope"}', Event.NOT_CONFIGURED, False),
        (400, b'{"error": "invalid_request"}', Event.TRY_LATER, True),
    ],
)
def test_an_answer_means_what_the_definition_and_rfc_6749_say(
    status: int, body: bytes, event: Event, *, counts: bool
) -> None:
    """Only the broker's own words for it are a verdict on the token; the rest is tried again."""
    outcome = read(ATTEMPT, RawAnswer(status, "text/plain", body, 7.0), broker=QUESTRADE, terms=TERMS, now=Now(9, 9))

    assert (event, counts) == (outcome.event, outcome.counts)
    assert (event is Event.ANSWER_KEPT) == (outcome.grant is not None)
    assert (7.0 if event is Event.TRY_LATER else None) == outcome.retry_after
    assert event is Event.ANSWER_KEPT or outcome.reason
    assert "sorry" not in outcome.reason


def test_an_answer_from_the_journal_is_as_old_as_when_it_came() -> None:
    """The pair's life counts from then; the boot clock is the present one's."""
    outcome = read_back(ATTEMPT, Answer(200, "", PAIR, 1000.0), broker=QUESTRADE, terms=TERMS, boot=77.0)

    assert outcome.grant is not None
    assert (5, 1000.0, 2800.0) == (outcome.grant.generation, outcome.grant.refreshed, outcome.grant.expires)


class Endpoint:
    """Answers one thing, or raises it, and notes what the disk held by then."""

    def __init__(self, disk: MemoryDisk, result: RawAnswer | Exception) -> None:
        self.disk = disk
        self.result = result
        self.durable: list[int] = []

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:  # noqa: ARG002
        found = {len(await _found(left)) for left in self.disk.after_power_loss()}
        self.durable.extend(found)
        if isinstance(self.result, Exception):
            raise self.result
        arrived(self.result)
        return self.result


async def _found(disk: MemoryDisk) -> list[bytes | None]:
    journal = await Journal.open(Path("/state/journal"), SEALER, files=disk)
    found = [item.answer.body if item.answer else None for item in journal.found()]
    await journal.close()
    return found


async def tried(result: RawAnswer | Exception, *faults: tuple[str, int]) -> tuple[Outcome, MemoryDisk, list[int]]:
    """One redemption on a disk that fails after the intent."""
    disk = MemoryDisk()
    journal = await TimelessJournal.open(Path("/state/journal"), SEALER, files=disk)
    slot = await journal.begin(Intent("questrade", 4, "login-1", ATTEMPT.before.token_hash, 1, False, 0.0, ""))
    for call, times in faults:
        disk.fail(call, errno.EIO, times=times)
    endpoint = Endpoint(disk, result)
    outcome = await redeem(
        ATTEMPT, WISH, slot, endpoint=endpoint, journal=journal, broker=QUESTRADE, terms=TERMS, clock=LoopClock()
    )
    disk.heal()
    left = disk.after_kill()
    await journal.close()
    return outcome, left, endpoint.durable


@pytest.mark.parametrize("body", [PAIR, b"", b"junk", b"<html>"])
async def test_the_raw_answer_is_in_the_journal_whatever_it_says(body: bytes) -> None:
    """And the intent was durable when the request left."""
    outcome, disk, durable = await tried(RawAnswer(200, "", body))

    assert ([1], [body], None) == (durable, await _found(disk), outcome.unkept)


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
async def test_a_disk_that_fails_once_is_tried_at_another_place(call: str) -> None:
    """The answer is kept all the same."""
    outcome, disk, _ = await tried(RawAnswer(200, "", PAIR), (call, 1))

    assert (Event.ANSWER_KEPT, None, [PAIR]) == (outcome.event, outcome.unkept, await _found(disk))


async def test_a_disk_that_goes_on_failing_does_not_cost_the_pair() -> None:
    """The outcome carries the raw answer, so that it can be kept later."""
    raw = RawAnswer(200, "", PAIR)
    outcome, _, _ = await tried(raw, ("pwrite", 9))

    assert (Event.ANSWER_KEPT, raw) == (outcome.event, outcome.unkept)
    assert outcome.grant is not None
    assert Secret("R") == outcome.grant.refresh_token


@pytest.mark.parametrize(
    ("error", "event", "reason"),
    [
        (NotSent("refused"), Event.NOTHING_SENT, "refused"),
        (Lost("reset"), Event.ANSWER_LOST, "reset"),
        (ValueError("R-old"), Event.ANSWER_LOST, "bearerd failed while a token request was out (ValueError)"),
    ],
)
async def test_a_request_that_fails_leaves_its_intent(error: Exception, event: Event, reason: str) -> None:
    """Whether it is in doubt is in the event; a foreign exception's text is not repeated."""
    outcome, disk, _ = await tried(error)

    assert (event, reason, [None]) == (outcome.event, outcome.reason, await _found(disk))


def test_no_repr_shows_a_token() -> None:
    """Neither of what is tried nor of what came."""
    outcome = read(ATTEMPT, RawAnswer(200, "", PAIR), broker=QUESTRADE, terms=TERMS, now=Now(9, 9))
    text = repr((ATTEMPT, outcome, replace(outcome, unkept=RawAnswer(200, "", PAIR))))

    assert [] == [token for token in ("R-old", "'A'", "'R'", '"R"') if token in text]


def meaning(wish: Wish, status: int, body: bytes, *, login: bool = True) -> Outcome:
    attempt = Attempt(replace(BEFORE, refresh_token=None), wish, login=login)
    return read(attempt, RawAnswer(status, "", body, 7.0), broker=QUESTRADE, terms=TERMS, now=Now(9, 9))


REFUSED_CLIENT = (
    "the broker refused bearerd itself (401: invalid_client (client_id)); "
    "look at client_id and client_secret of grants.questrade"
)


@pytest.mark.parametrize(
    ("wish", "status", "body", "event", "reason"),
    [
        (
            Exchange(Secret("C0DE4567")), 400, b'{"ErrorCode":"invalid_request","Error":"Invalid Authorization Code"}',
            Event.TRY_LATER, "the token endpoint answered 400: invalid_request: Invalid Authorization Code",
        ),
        (
            Exchange(Secret("C0DE")), 400, b'{"error":"invalid_grant","error_description":"C0DE was used"}',
            Event.TOKEN_DEAD, "the broker refused the authorization code (400: invalid_grant: *** was used)",
        ),
        (
            Refresh(Secret("R-1")), 400, b'{"error":"invalid_grant"}',
            Event.TOKEN_DEAD, "the broker refused the refresh token (400: invalid_grant)",
        ),
        (
            Mint(), 401, b'{"error":"invalid_client","fields":[{"name":"client_id"}]}', Event.NOT_CONFIGURED,
            REFUSED_CLIENT,
        ),
        (
            Mint(), 400, b'{"error":"invalid_grant"}', Event.NOT_CONFIGURED,
            "the broker refused bearerd itself (400: invalid_grant)",
        ),
        (
            Mint(), 400, b'{"error":"invalid_request","fields":[{"name":"client_id"}]}', Event.TRY_LATER,
            "the token endpoint answered 400: invalid_request (client_id)",
        ),
        (Mint(), 200, b"{}", Event.TRY_LATER, "the token endpoint's answer held no token"),
        (Exchange(Secret("c")), 200, b"{}", Event.ANSWER_LOST, "the token endpoint's answer held no token"),
    ],
    ids=["apigee", "used code", "dead token", "client", "mint grant", "mint request", "empty mint", "empty exchange"],
)  # fmt: skip
def test_an_error_is_told_in_the_broker_s_words_and_for_what_was_posted(
    wish: Wish, status: int, body: bytes, event: Event, reason: str
) -> None:
    """Whoever logs in reads it: what was refused, why, and never the code itself."""
    outcome = meaning(wish, status, body)

    assert (event, reason) == (outcome.event, outcome.reason)


def test_an_error_that_repeats_a_secret_of_ours_does_not_show_it() -> None:
    """A client secret is known to the redactor like any other."""
    Secret("super-client-secret")
    outcome = meaning(Mint(), 400, b'{"error":"bad","error_description":"no client super-client-secret here"}')

    assert "the token endpoint answered 400: bad: no client *** here" == outcome.reason


@pytest.mark.parametrize("error", [Lost("reset"), ValueError("x")])
async def test_what_spends_nothing_is_never_in_doubt(error: Exception) -> None:
    """A mint whose answer is lost is just asked for again, and the journal hears nothing of it."""
    disk = MemoryDisk()
    journal = await TimelessJournal.open(Path("/state/journal"), SEALER, files=disk)
    attempt = Attempt(replace(BEFORE, refresh_token=None), Mint(), login=False)
    outcome = await redeem(
        attempt,
        Mint(),
        None,
        endpoint=Endpoint(disk, error),
        journal=journal,
        broker=QUESTRADE,
        terms=TERMS,
        clock=LoopClock(),
    )
    slots = journal.slots_in_use
    await journal.close()

    assert (Event.TRY_LATER, 0) == (outcome.event, slots)
