"""One exchange over real sockets: what is renewed, what is repeated, what a failing broker becomes."""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.brokers.definition import BEARER, Placement
from proxy.tokens.oauth import RawAnswer
from tests.lab import REFUSED, Lab, access_token, definition, running
from tests.wire import Step, Visit, accept, answer, reset

ORDER = b'{"symbolId": 1}'
BASIC = Placement("basic")
PAIR = Placement("headers", ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"))
QUERY = Placement("query", ("api_key",))


async def refused(visit: Visit) -> None:
    """401, code 1017."""
    await visit.read()
    await visit.json(REFUSED, 401)


async def header_missing(visit: Visit) -> None:
    await visit.read()
    await visit.json({"code": 1014}, 401)


async def reset_early(visit: Visit) -> None:
    """A reset before a byte of the answer."""
    await visit.read()
    reset(visit.writer)


async def closed_early(visit: Visit) -> None:
    await visit.read()
    visit.writer.close()


async def cut_in_head(visit: Visit) -> None:
    await visit.read()
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    visit.writer.close()


async def cut_in_body(visit: Visit) -> None:
    await visit.read()
    await visit.write(answer(200, b'{"half": ', "Content-Type: application/json", length=100))
    visit.writer.close()


async def cut_in_chunks(visit: Visit) -> None:
    await visit.read()
    await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    visit.writer.close()


async def silent(visit: Visit) -> None:
    await visit.wait_gone()


async def interim_flood(visit: Visit) -> None:
    """100 Continue, for as long as somebody listens."""
    while True:
        await visit.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
        await asyncio.sleep(0.01)


async def slow_drip(visit: Visit) -> None:
    """A byte at a time, so that it never falls silent and never ends."""
    await visit.read()
    await visit.write(answer(200, b"", length=1000))
    while True:
        await visit.write(b".")
        await asyncio.sleep(0.02)


def raw(data: bytes) -> Step:
    """A step that answers these bytes and closes."""

    async def step(visit: Visit) -> None:
        await visit.read()
        await visit.write(data)
        visit.writer.close()

    return step


def echoing(*headers: str) -> Step:
    """A step that sends the bearer back in its body, or in the header that is named."""

    async def step(visit: Visit) -> None:
        await visit.read()
        body = b"{}" if headers else visit.bearer.encode()
        await visit.write(answer(200, body, *(f"{name}: {visit.bearer}" for name in headers)))

    return step


async def send(lab: Lab, method: str, target: str, *headers: str) -> tuple[int, str]:
    """The refusal that a call gets; nothing stays lent."""
    body = ORDER if method in ("POST", "PUT") else None
    reply = await lab.call(method, target, *headers, body=body)
    assert 0 == lab.lent
    return reply.problem


CALLS = [("GET", "/lab/v1/accounts"), ("POST", "/lab/v1/orders"), ("PUT", "/lab/v1/orders/7"), ("POST", "/lab/v1/find")]


@pytest.mark.parametrize(("method", "target"), [*CALLS, ("DELETE", "/lab/v1/orders/7")])
async def test_a_refused_token_is_renewed_once_and_the_call_is_repeated_once(method: str, target: str) -> None:
    """The client sees one answer; the broker sees the same call with the new token, body and all."""
    async with running() as lab:
        lab.broker.script = [refused]
        reply = await lab.call(method, target, body=ORDER if method in ("POST", "PUT") else None)

        assert 200 == reply.status
        assert 1 == lab.desk.refreshes
        first, second = lab.broker.visits
        assert (access_token(1), access_token(2)) == (first.bearer, second.bearer)
        assert (first.line, first.body) == (second.line, second.body)
        assert 0 == lab.lent


async def test_a_second_401_passes() -> None:
    """At most one repeat: the broker's second refusal is the client's answer."""
    async with running() as lab:
        lab.broker.script = [refused, refused]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (401, REFUSED) == (reply.status, reply.document)
        assert (2, 1, 0) == (len(lab.broker.visits), lab.desk.refreshes, lab.lent)


async def test_many_refused_calls_cause_one_renewal() -> None:
    """All of them are repeated with the one new token."""
    async with running() as lab:
        lab.broker.script = [refused] * 8
        replies = await asyncio.gather(*(lab.call("GET", "/lab/v1/accounts") for _ in range(8)))

        assert [200] * 8 == [reply.status for reply in replies]
        assert (1, 0) == (lab.desk.refreshes, lab.lent)


async def test_a_chunked_401_is_understood_too() -> None:
    """What a 401 says is read whatever its framing."""
    body = json.dumps(REFUSED).encode()
    async with running() as lab:
        chunked = b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        lab.broker.script = [raw(chunked)]

        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status


@pytest.mark.parametrize(
    ("coding", "packed"), [("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_401_is_understood_too(coding: str, packed: Callable[[bytes], bytes]) -> None:
    """Most clients ask for compressed answers, and a broker may pack its refusal as well."""
    body = packed(json.dumps(REFUSED).encode())
    async with running() as lab:
        lab.broker.script = [raw(answer(401, body, f"Content-Encoding: {coding}"))]

        assert 200 == (await lab.call("GET", "/lab/v1/accounts", f"Accept-Encoding: {coding}")).status
        assert (1, 0) == (lab.desk.refreshes, lab.lent)


@pytest.mark.parametrize(
    "body", [b"no gzip at all", gzip.compress(json.dumps(REFUSED).encode(), mtime=0)[:-20]], ids=["junk", "cut off"]
)
async def test_a_401_that_cannot_be_unpacked_passes(body: bytes) -> None:
    """As it came, and nothing is concluded from it."""
    async with running() as lab:
        lab.broker.script = [raw(answer(401, body, "Content-Encoding: gzip"))]
        reply = await lab.call("GET", "/lab/v1/accounts", "Accept-Encoding: gzip")

        assert (401, body, 0, 0) == (reply.status, reply.body, lab.desk.refreshes, lab.lent)


async def test_a_missing_header_never_renews() -> None:
    """401 with code 1014 is our mistake; the answer passes with its body."""
    async with running() as lab:
        lab.broker.script = [header_missing]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (401, {"code": 1014}) == (reply.status, reply.document)
        assert (0, 1, 0) == (lab.desk.refreshes, len(lab.broker.visits), lab.lent)
        assert None is reply.one("WWW-Authenticate")


async def test_a_401_within_the_cool_down_passes() -> None:
    """A token that was renewed a moment ago is not renewed again: somebody else is using the grant."""
    async with running(cooldown=120) as lab:
        lab.broker.script = [refused]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (401, REFUSED) == (reply.status, reply.document)
        assert (0, 0) == (lab.desk.refreshes, lab.lent)


async def test_an_order_is_not_repeated_where_a_401_proves_nothing() -> None:
    """The token is renewed for the next call, and the broker's 401 passes."""
    async with running(broker=replace(definition(), refusal_proves_nonexecution=False)) as lab:
        lab.broker.script = [refused]
        reply = await lab.call("POST", "/lab/v1/orders", body=ORDER)

        assert 401 == reply.status
        assert (1, 1, 0) == (lab.desk.refreshes, len(lab.broker.visits), lab.lent)


async def test_a_get_that_changes_something_is_treated_as_an_order() -> None:
    """A row says what a call does, not its method: not repeated after a 401, no 502 that asks for it again."""
    row = "  - {id: fire, method: GET, path: /v1/fire, scope: trade, mutating: true}\n"
    async with running(broker=replace(definition(row), refusal_proves_nonexecution=False)) as lab:
        lab.broker.script = [refused, closed_early]
        assert 401 == (await lab.call("GET", "/lab/v1/fire")).status
        assert (1, 1) == (lab.desk.refreshes, len(lab.broker.visits))

        assert (500, "outcome-unknown") == await send(lab, "GET", "/lab/v1/fire")
        await lab.broker.stop()
        assert (503, "broker-unreachable") == await send(lab, "GET", "/lab/v1/fire")


async def test_such_a_401_passes_even_if_no_token_can_be_had() -> None:
    """A 503 with Retry-After would ask for an order once more that may have been executed."""
    async with running(broker=replace(definition(), refusal_proves_nonexecution=False)) as lab:
        lab.broker.script = [refused, refused]
        lab.desk.answers = [RawAnswer(503, "text/html", b"")] * 9
        assert 401 == (await lab.call("POST", "/lab/v1/orders", body=ORDER)).status

        assert (503, "token-unavailable") == (await lab.call("GET", "/lab/v1/accounts")).problem
        assert 0 == lab.lent


async def test_an_order_that_was_sent_once_is_not_asked_for_again() -> None:
    """Refused, so not executed; but if it can't be sent a second time, no Retry-After follows what has left once."""
    async with running() as lab:
        lab.broker.script = [refused]
        lab.desk.answers = [RawAnswer(503, "text/html", b"")] * 9
        reply = await lab.call("POST", "/lab/v1/orders", body=ORDER)
        assert ((503, "token-unavailable"), None) == (reply.problem, reply.one("Retry-After"))
    async with running() as lab:

        async def last_words(visit: Visit) -> None:
            lab.broker._server.close()
            await refused(visit)

        lab.broker.script = [last_words]
        reply = await lab.call("POST", "/lab/v1/orders", body=ORDER)
        assert ((503, "broker-unreachable"), None) == (reply.problem, reply.one("Retry-After"))
        assert "nothing was executed" in reply.document["message"]
        assert (1, 0) == (len(lab.broker.visits), lab.lent)


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize("again", [False, True])
async def test_what_a_gateway_says_is_no_answer_to_an_order(status: int, again: bool) -> None:
    """It has lost the broker's: the order may have been executed. Reads get it as it is."""
    page = raw(answer(status, b"<h1>Bad Gateway</h1>", "Retry-After: 1"))
    async with running() as lab:
        lab.broker.script = [*[refused] * again, page, page]
        reply = await lab.call("DELETE", "/lab/v1/orders/7")
        assert ((500, "outcome-unknown"), None) == (reply.problem, reply.one("Retry-After"))
        read = await lab.call("GET", "/lab/v1/accounts")
        assert (status, "1", None) == (read.status, read.one("Retry-After"), read.one("Proxy-Status"))
        assert (2 + again, 0) == (len(lab.broker.visits), lab.lent)


async def test_a_dead_refresh_token_behind_a_401_says_log_in() -> None:
    """The refusal names the command, and no Retry-After."""
    async with running() as lab:
        lab.broker.script = [refused]
        lab.desk.answers = [RawAnswer(400, "text/plain", b"Bad Request")]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert ((503, "login-needed"), None) == (reply.problem, reply.one("Retry-After"))
        assert "bearerd login lab" == reply.document["fix"]
        assert 0 == lab.lent


ENDLESS = (silent, slow_drip)
FAILURES: list[tuple[Step, tuple[int, str]]] = [
    (reset_early, (502, "broker-unreachable")),
    (closed_early, (502, "broker-unreachable")),
    (cut_in_head, (502, "broker-unreachable")),
    (cut_in_body, (502, "broker-unreachable")),
    (silent, (504, "broker-timeout")),
    (slow_drip, (504, "broker-timeout")),
    (interim_flood, (502, "bad-answer")),
    (raw(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), (502, "bad-answer")),
    (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 200 OK\r\nContent-Length: soon\r\n\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"Content-Length: 0\r\n\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: %s\r\n" % (b"b" * 8000) * 5 + b"\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 40_000 + b"\r\n\r\n"), (502, "bad-answer")),
    (raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 5), (502, "broker-unreachable")),
    (echoing(), (502, "bad-answer")),
    (echoing("X-Debug"), (502, "bad-answer")),
]


@pytest.mark.parametrize(("failure", "expected"), FAILURES)
async def test_a_read_that_fails_is_a_502_or_a_504(failure: Step, expected: tuple[int, str]) -> None:
    """Each failure has its refusal; the call is not sent a second time."""
    async with running(total=0.6 if failure in ENDLESS else 5) as lab:
        lab.broker.script = [failure]

        assert expected == await send(lab, "GET", "/lab/v1/accounts")
        assert 1 == len(lab.broker.visits)


@pytest.mark.parametrize("failure", [*(failure for failure, _ in FAILURES), cut_in_chunks])
async def test_an_order_without_a_complete_answer_is_outcome_unknown(failure: Step) -> None:
    """Whatever cut it off: 500, never Retry-After, sent exactly once."""
    async with running(total=0.6 if failure in ENDLESS else 5) as lab:
        lab.broker.script = [failure]
        reply = await lab.call("POST", "/lab/v1/orders", body=ORDER)

        assert ((500, "outcome-unknown"), None) == (reply.problem, reply.one("Retry-After"))
        assert "check your orders" in reply.document["message"]
        assert reply.document["fix"]
        assert (1, 0) == (len(lab.broker.visits), lab.lent)


@pytest.mark.parametrize(("method", "target"), [("PUT", "/lab/v1/orders/7"), ("DELETE", "/lab/v1/orders/7")])
async def test_idempotent_methods_are_not_sent_again_behind_our_back(method: str, target: str) -> None:
    """The HTTP library would repeat PUT and DELETE after a reset; here they arrive once."""
    async with running() as lab:
        lab.broker.script = [reset_early]

        assert (500, "outcome-unknown") == await send(lab, method, target)
        assert 1 == len(lab.broker.visits)


async def test_a_read_meets_a_connection_that_was_just_closed() -> None:
    """A kept connection that dies before a byte of answer is the one case in which a GET is sent again."""
    async with running() as lab:
        lab.broker.script = [accept, reset_early]
        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status
        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status

        assert (3, 2, 0) == (len(lab.broker.visits), lab.broker.connections, lab.lent)


@pytest.mark.parametrize(
    ("method", "target", "expected", "retry_after"),
    [
        ("GET", "/lab/v1/accounts", (502, "broker-unreachable"), None),
        ("POST", "/lab/v1/orders", (503, "broker-unreachable"), "5"),
        ("DELETE", "/lab/v1/orders/7", (503, "broker-unreachable"), "5"),
    ],
)
async def test_a_refused_connection_sent_nothing(
    method: str, target: str, expected: tuple[int, str], retry_after: str | None
) -> None:
    """Then a repeat of an order is harmless, and Retry-After says so."""
    async with running() as lab:
        await lab.broker.stop()
        reply = await lab.call(method, target, body=ORDER if method == "POST" else None)

        assert (expected, retry_after) == (reply.problem, reply.one("Retry-After"))
        assert 0 == lab.lent


@pytest.mark.parametrize(
    ("placement", "credential", "echo"),
    [
        (BEARER, "plain/bearer+token", "plain/bearer+token"),
        (BEARER, "plain/bearer+token", "plain%2Fbearer%2Btoken"),
        (BEARER, "plain/bearer+token", "plain\\/bearer+token"),
        (BASIC, "the-user-id:the-password", "the-password"),
        (BASIC, "the-user-id:the-password", base64.b64encode(b"the-user-id:the-password").decode()),
        (PAIR, "the-key-id:the-key-secret", "the-key-id"),
        (PAIR, "the-key-id:the-key-secret", "the-key-secret"),
        (PAIR, "the-key-id:the-key-secret", base64.b64encode(b"x the-key-secret y").decode()),
        (QUERY, "key/of=the-query", "key/of=the-query"),
        (QUERY, "key/of=the-query", "key%2Fof%3Dthe-query"),
    ],
)
@pytest.mark.parametrize("where", ["body", "header"])
async def test_an_answer_that_gives_a_credential_back_is_withheld(
    placement: Placement, credential: str, echo: str, where: str
) -> None:
    """Every part of it, in every encoding that the wire may give it; the next answer passes."""

    async def step(visit: Visit) -> None:
        await visit.read()
        body, *headers = (echo,) if where == "body" else ("{}", f"X-Debug: {echo}")
        await visit.write(answer(200, body.encode(), *headers))

    async with running(placement=placement, credential=credential, fixed=True) as lab:
        lab.broker.script = [step]
        assert (502, "bad-answer") == await send(lab, "GET", "/lab/v1/accounts")
        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status


async def test_an_untrusted_certificate_sends_nothing() -> None:
    """The bearer never leaves for a peer that cannot prove its name."""
    async with running() as lab:
        place = replace(lab.mount.relay._place, ca_file=None)
        lab.mount.relay._place = place

        assert (503, "broker-unreachable") == await send(lab, "POST", "/lab/v1/orders")
        assert [] == lab.broker.visits
