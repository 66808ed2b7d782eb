"""The path of one request: what is asked first, what is refused how, and what the broker gets to see."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from proxy.gate.clients import new_key
from tests.lab import Lab, access_token, running
from tests.wire import Visit, answer

ANY_ORDER = b'{"symbolId": 1}'
STRANGER = new_key(lambda count: b"\xff" * count).reveal()


async def test_the_target_reaches_the_broker_byte_for_byte() -> None:
    """Encodings, blanks, empty and repeated names, a bare question mark."""
    queries = [
        "",
        "?",
        "?a=%3A%2B%2C%2c",
        "?startTime=2018-08-01T00:00:00-0",
        "?a=+&a=+&False=False&&=&b",
        "?x=/../%25",
    ]
    async with running() as lab:
        for query in queries:
            assert 200 == (await lab.call("GET", "/lab/v1/accounts" + query)).status

        assert [f"/v1/accounts{query}".encode() for query in queries] == [visit.target for visit in lab.broker.visits]


async def test_the_broker_sees_one_authorization_and_nothing_of_the_clients() -> None:
    """Neither its key, in any of its places, nor cookies, forwarding headers, or what Connection names."""
    unwanted = (
        "X-Api-Key: {key}", "APCA-API-KEY-ID: bearerd", "APCA-API-SECRET-KEY: {key}",
        "Cookie: a=b", "location: 26598145", "X-Forwarded-For: 1.2.3.4", "X-Original-URL: /v1/a",
        "Connection: keep-alive, accept-language", "Accept-Language: en", "User-Agent: Python-urllib/3", "TE: trailers",
        "Accept-Encoding: gzip, zstd", "Accept: application/json", "X-Request-Id: mine-1", "Idempotency-Key: 7",
    )  # fmt: skip
    async with running() as lab:
        reply = await lab.call("GET", "/lab/v1/accounts", *(line.format(key=lab.key) for line in unwanted))

        assert (200, "mine-1") == (reply.status, reply.one("X-Request-Id"))
        (visit,) = lab.broker.visits
        assert [
            ("Host", f"127.0.0.1:{lab.broker.port}"), ("Accept-Encoding", "gzip"), ("Accept", "application/json"),
            ("Idempotency-Key", "7"), ("User-Agent", "bearerd/test"), ("Via", "1.1 bearerd"),
            ("X-Request-Id", "mine-1"), ("Authorization", "Bearer access-token-of-generation-1"),
        ] == visit.headers  # fmt: skip


async def test_rate_limits_and_retry_after_pass() -> None:
    """A broker's 429 is the client's, with all that it needs to wait."""

    async def step(visit: Visit) -> None:
        extra = ("X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 99", "Retry-After: 3", "Set-Cookie: a=b")
        await visit.json({"code": 1006}, 429, *extra, "Access-Control-Allow-Origin: *", "Server: x")

    async with running() as lab:
        lab.broker.script = [step]
        reply = await lab.call("GET", "/lab/v1/accounts")

        assert (429, "0", "99", "3") == (
            reply.status, *(reply.one(name) for name in ("X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After")),
        )  # fmt: skip
        assert ([], [], ["bearerd"]) == tuple(
            reply.all(name) for name in ("Set-Cookie", "Access-Control-Allow-Origin", "Server")
        )


async def test_checks_come_in_their_order() -> None:
    """A request with every fault at once, mended one after the other: 421, 403, 401, 400, 404, 403, and then 200."""
    async with running(scopes=("read",)) as lab:
        wrong = {"host": "evil.example", "key": STRANGER}
        site, odd = "Origin: https://evil.example", "X_Odd: 1"
        steps = [
            ((421, "wrong-host"), "PUT", "/none/v1/..", (site, odd), wrong),
            ((403, "cross-site"), "PUT", "/none/v1/..", (site, odd), {"key": STRANGER}),
            ((401, "unknown-client"), "PUT", "/none/v1/..", (odd,), {"key": STRANGER}),
            ((400, "bad-request"), "PUT", "/none/v1/..", (odd,), {}),
            ((400, "ambiguous-target"), "PUT", "/none/v1/..", (), {}),
            ((404, "unknown-mount"), "PUT", "/none/v1/orders/x", (), {}),
            ((403, "scope-denied"), "PUT", "/lab/v1/orders/x", (), {}),
            ((403, "scope-denied"), "PUT", "/lab/v1/orders/7", (), {}),
        ]
        for expected, method, target, headers, options in steps:
            assert expected == (await lab.call(method, target, *headers, body=b"{}", **options)).problem
        assert [] == lab.broker.visits

        lab.change_mount(scopes=frozenset({"read", "trade"}))
        assert 200 == (await lab.call("PUT", "/lab/v1/orders/7", body=b"{}")).status


@pytest.mark.parametrize(
    "header",
    ["Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin", "Access-Control-Request-Method: GET"],
)
async def test_no_web_page_gets_through(header: str) -> None:
    """Not with a key, not with a preflight, and no answer invites one."""
    async with running(open_to_all=True) as lab:
        reply = await lab.call("OPTIONS" if "Control" in header else "GET", "/lab/v1/accounts", header)

        assert (403, "cross-site") == reply.problem
        assert [] == [name for name, _ in reply.headers if name.lower().startswith("access-control")]


async def test_a_client_may_send_its_key_in_any_of_the_usual_ways() -> None:
    """Bearer, either part of Basic, Alpaca's pair, X-Api-Key; none of it goes on, and two that differ are refused."""
    async with running() as lab:
        basic = [
            base64.b64encode(text.encode()).decode() for text in (f"user:{lab.key}", f"{lab.key}:", f"{lab.key}:x")
        ]
        ways = [
            [f"Authorization: bearer {lab.key}"],
            *([f"Authorization: Basic {text}"] for text in basic),
            [f"X-Api-Key: {lab.key}"],
            ["APCA-API-KEY-ID: bearerd", f"APCA-API-SECRET-KEY: {lab.key}"],
            [f"APCA-API-KEY-ID: {lab.key}", f"APCA-API-SECRET-KEY: {lab.key}", "Authorization: ", "X-Api-Key: "],
            ["APCA-API-KEY-ID: ", "APCA-API-SECRET-KEY: ", f"Authorization: Bearer {lab.key}"],
        ]
        for headers in ways:
            assert 200 == (await lab.call("GET", "/lab/v1/accounts", *headers, key="")).status
        for visit in lab.broker.visits:
            assert ["Host", "User-Agent", "Via", "X-Request-Id", "Authorization"] == [name for name, _ in visit.headers]
            assert access_token(1) == visit.bearer

        pair = await lab.call("GET", "/lab/v1/accounts", f"APCA-API-SECRET-KEY: {STRANGER}")
        assert (401, "unknown-client") == pair.problem
        alone = await lab.call("GET", "/lab/v1/accounts", f"APCA-API-KEY-ID: {lab.key}", key="")
        assert (401, "unknown-client") == alone.problem
        reply = await lab.call("GET", "/lab/v1/accounts", f"X-Api-Key: {STRANGER}")
        assert (401, "unknown-client") == reply.problem
        assert ('Bearer realm="bearerd"', None) == (reply.one("WWW-Authenticate"), reply.one("Retry-After"))
        assert reply.document["fix"]


async def test_a_program_that_says_how_it_fetches_is_no_web_page() -> None:
    """Node's fetch sends Sec-Fetch-Mode; only Sec-Fetch-Site tells of a page."""
    async with running() as lab:
        headers = ("Sec-Fetch-Mode: cors", "Accept-Language: *")
        assert 200 == (await lab.call("GET", "/lab/v1/accounts", *headers)).status
        assert 200 == (await lab.call("POST", "/lab/v1/orders", *headers, body=ANY_ORDER)).status
        refused = await lab.call("GET", "/lab/v1/accounts", *headers, "Sec-Fetch-Site: cross-site")
        assert (403, "cross-site") == refused.problem


async def test_an_unknown_mount_lists_what_this_client_may_see() -> None:
    """And no other mount's name."""
    async with running(clients={"bot": {"lab": frozenset({"read"})}}) as lab:
        lab.change(mounts={"lab": lab.mount, "secret-account": lab.mount})
        reply = await lab.call("GET", "/typo/v1/accounts")

        assert (404, "unknown-mount") == reply.problem
        assert "/lab" in reply.document["message"]
        assert "secret" not in reply.document["message"]


async def test_two_lists_must_hold_the_scope() -> None:
    """The refusal names the list that lacks it, and the line to add."""
    async with running(scopes=("read",), clients={"bot": {"lab": frozenset({"trade"})}}) as lab:
        read = await lab.call("GET", "/lab/v1/accounts")
        trade = await lab.call("DELETE", "/lab/v1/orders/7")

        assert ((403, "scope-denied"), "add read to clients.bot.lab") == (read.problem, read.document["fix"])
        assert ((403, "scope-denied"), "add trade to mounts.lab.scopes") == (trade.problem, trade.document["fix"])
        assert ("lab", "bot") == (trade.document["mount"], trade.document["client"])
        assert [] == lab.broker.visits


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/lab//v1/accounts", 200), ("//lab/v1/accounts", 400), ("/lab/v1//accounts", 400), ("/lab///v1/accounts", 400),
        ("/lab/v1/accounts/", 400), ("/lab/v1/./accounts", 400), ("/lab/v1/%61ccounts", 400), ("/lab", 403), ("/", 404),
        ("/lab/v1/Accounts", 403), ("http://127.0.0.1/lab/v1/accounts", 400), ("*", 400),
        ("/lab/v1/accounts?_method=DELETE", 400), ("/lab/v1/accounts#x", 400),
    ],
)  # fmt: skip
async def test_a_target_is_matched_or_refused_and_never_cleaned(target: str, status: int) -> None:
    """The mount's own slash may be doubled, once; it is never sent."""
    async with running() as lab:
        assert status == (await lab.call("GET", target)).status
        assert [b"/v1/accounts"] * (status == 200) == [visit.target for visit in lab.broker.visits]


async def test_a_root_listener_serves_its_mount_alone() -> None:
    """For clients that drop a path prefix; its addresses are without one."""

    async def redirect(visit: Visit) -> None:
        await visit.json({}, 302, "Location: /v1/orders")

    async with running(root=True) as lab:
        assert 200 == (await lab.call("GET", "/v1/accounts?")).status
        assert 200 == (await lab.call("GET", "//v1/accounts")).status
        assert 403 == (await lab.call("GET", "/lab/v1/accounts")).status
        lab.broker.script = [redirect]
        assert f"http://{lab.host}/v1/orders" == (await lab.call("GET", "/v1/accounts")).one("Location")


async def test_http_1_0_is_505() -> None:
    """Before anything else is looked at."""
    async with running() as lab, lab.connect() as wire:
        await wire.send(b"GET /lab/v1/accounts HTTP/1.0\r\n\r\n")
        raw = await wire.reader.read()
        assert b" 505 " in raw.partition(b"\r\n")[0]
        assert b'details="http-version"' in raw


@pytest.mark.parametrize(
    ("method", "target", "limit"),
    [("POST", "/lab/v1/orders", 65_536), ("DELETE", "/lab/v1/orders/7", 64), ("GET", "/lab/v1/accounts", 0),
     ("POST", "/lab/v1/upload", 1 << 20), ("POST", "/lab/v1/document", 100_000)],
)  # fmt: skip
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_at_its_limit_passes_and_one_byte_more_is_413(
    method: str, target: str, limit: int, chunked: bool
) -> None:
    """Whether its length is announced or not; a refused one reaches no broker."""
    async with running() as lab:
        for size, status in ((limit, 200), (limit + 1, 413)):
            if chunked:
                head, body = ("Transfer-Encoding: chunked",), (b"%x\r\n%s\r\n" % (size, b"x" * size) if size else b"")
                async with lab.connect() as wire:
                    await wire.send(lab.request(method, target, *head) + body + b"0\r\n\r\n")
                    reply = await wire.reply()
            else:
                reply = await lab.call(method, target, body=b"x" * size)
            assert status == reply.status
            if status == 413:
                assert ((413, "body-too-large"), "close") == (reply.problem, reply.one("Connection"))
        whole = [len(visit.body) for visit in lab.broker.visits if visit.body or not limit]
        assert limit == whole[0]


async def test_the_operators_body_limit_is_for_rows_without_their_own() -> None:
    """A row that names its own keeps it."""
    async with running() as lab:
        lab.change(body_limit=10)
        assert 200 == (await lab.call("POST", "/lab/v1/upload", body=b"x" * 10)).status
        assert 413 == (await lab.call("POST", "/lab/v1/upload", body=b"x" * 11)).status
        assert 200 == (await lab.call("POST", "/lab/v1/document", body=b"x" * 11)).status


async def test_odd_bodies_of_real_clients_pass() -> None:
    """DELETE with `{}`, GET with a type and no body, POST with a length of 0, and an offer of h2c that is ignored."""
    async with running() as lab:
        assert 200 == (await lab.call("DELETE", "/lab/v1/orders/7", body=b"{}")).status
        typed = ("Content-Type: application/json", "Content-Length: 0")
        assert 200 == (await lab.call("GET", "/lab/v1/accounts", *typed)).status
        assert 200 == (await lab.call("POST", "/lab/v1/find", body=b"")).status
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA")
        assert 200 == (await lab.call("POST", "/lab/v1/orders", *offer, body=ANY_ORDER)).status

        lengths = [(visit.line[:4], visit.all("Content-Length"), visit.body) for visit in lab.broker.visits]
        assert [
            (b"DELE", ["2"], b"{}"),
            (b"GET ", [], b""),
            (b"POST", ["0"], b""),
            (b"POST", ["15"], ANY_ORDER),
        ] == lengths


async def test_a_broken_chunk_is_400() -> None:
    """In the middle of a body too; what stood there is not quoted."""
    async with running() as lab, lab.connect() as wire:
        await wire.send(lab.request("POST", "/lab/v1/orders", "Transfer-Encoding: chunked") + b"2\r\n{}\r\ncanary\r\n")
        reply = await wire.reply()
        assert (400, "bad-request") == reply.problem
        assert b"canary" not in reply.body
    assert ([], 0) == (lab.broker.visits, lab.lent)


async def test_100_continue_comes_after_the_gate() -> None:
    """An allowed call is invited to send its body; a refused one gets its refusal instead."""
    async with running(scopes=("trade",)) as lab:
        async with lab.connect() as wire:
            head = lab.request("POST", "/lab/v1/orders", "Expect: 100-continue", "Content-Length: 15")
            await wire.send(head)
            assert (100, []) == await wire.head()
            await wire.send(ANY_ORDER)
            assert 200 == (await wire.reply()).status
        async with lab.connect() as wire:
            await wire.send(lab.request("POST", "/lab/v1/find", "Expect: 100-continue", "Content-Length: 15"))
            reply = await wire.reply()
            assert ((403, "scope-denied"), "close") == (reply.problem, reply.one("Connection"))
        unknown = await lab.call("POST", "/lab/v1/orders", "Expect: gold", body=ANY_ORDER)
        assert (417, "expectation-failed") == unknown.problem
        assert [[]] == [visit.all("Expect") for visit in lab.broker.visits]


async def test_a_guard_reads_the_body_before_anything_is_sent() -> None:
    """A member that the row forbids is 403."""
    async with running() as lab:
        assert (403, "guard-denied") == (await lab.call("POST", "/lab/v1/find", body=b'{"stream": true}')).problem
        assert 200 == (await lab.call("POST", "/lab/v1/find", body=b'{"ids": [1]}')).status
        assert 1 == len(lab.broker.visits)


async def test_what_the_broker_refuses_passes_as_it_is_asked_for() -> None:
    """The client's Accept goes on, and a fault that is no JSON comes back as the broker wrote it."""

    async def fault(visit: Visit) -> None:
        await visit.read()
        await visit.write(answer(401, b"Invalid Access Token", "Content-Type: text/plain"))

    async with running() as lab:
        lab.broker.script = [fault]
        reply = await lab.call("GET", "/lab/v1/accounts", "Accept: application/json;q=0.5, text/xml")

        assert (401, b"Invalid Access Token") == (reply.status, reply.body)
        assert ["application/json;q=0.5, text/xml"] == lab.broker.visits[0].all("Accept")


async def test_a_draining_server_takes_no_new_call() -> None:
    """503 with Retry-After, and those inside end first."""
    going = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await going.wait()
        await visit.json({})

    async with running() as lab, asyncio.TaskGroup() as group:
        lab.broker.script = [slow]
        inside = group.create_task(lab.call("GET", "/lab/v1/accounts"))
        await _until(lambda: lab.gateway.serving.in_flight == 1)
        lab.gateway.serving.draining = True
        drained = group.create_task(lab.gateway.serving.drained(5))
        async with lab.connect() as wire:
            await wire.send(lab.request("GET", "/lab/v1/accounts"))
            reply = await wire.reply()
            assert ((503, "draining"), "1", "close") == (
                reply.problem,
                reply.one("Retry-After"),
                reply.one("Connection"),
            )
            assert await wire.ended()
        assert not drained.done()
        going.set()
        assert 200 == (await inside).status
        await drained


async def test_a_clients_calls_in_flight_are_limited() -> None:
    """The limit passes, one more is 429 with Retry-After and is not sent."""
    going = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await going.wait()
        await visit.json({})

    async with running() as lab, asyncio.TaskGroup() as group:
        lab.change(in_flight_per_client=2)
        lab.broker.script = [slow, slow]
        inside = [group.create_task(lab.call("GET", "/lab/v1/accounts")) for _ in range(2)]
        await _until(lambda: lab.gateway.serving.in_flight == 2)
        reply = await lab.call("GET", "/lab/v1/accounts")
        assert ((429, "paced"), "1") == (reply.problem, reply.one("Retry-After"))
        going.set()
        assert [200, 200] == [(await call).status for call in inside]
        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status
        assert 3 == len(lab.broker.visits)


def audited(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The audit lines so far."""
    return [record.msg for record in caplog.records if record.name == "audit" and isinstance(record.msg, dict)]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  what is waited for happens in the server
            await asyncio.sleep(0.005)


async def test_each_call_is_counted_and_recorded_once(caplog: pytest.LogCaptureFixture) -> None:
    """Metrics by template and class, a tally a mount, one audit line; no secret, raw path, query or body in any."""
    caplog.set_level("DEBUG", "audit")
    async with running(scopes=("read",)) as lab:
        await lab.call("GET", "/lab/v1/accounts?canary=1", "X-Request-Id: first")
        await lab.call("DELETE", "/lab/v1/orders/424242")
        await lab.call("GET", "/lab/v1/accounts", key=STRANGER)
        text = lab.metrics.render().decode()
        tally = lab.gateway.serving.tallies["lab"]

    lines = audited(caplog)
    assert [("broker", 200, "/v1/accounts", 1), ("scope-denied", 403, "/v1/orders/{order}", None),
            ("unknown-client", 401, None, None)] == [
        (line["outcome"], line["status"], line["row"], line["generation"]) for line in lines
    ]  # fmt: skip
    assert ("first", "bot", "lab", "debug") == tuple(
        lines[0][key] for key in ("request_id", "client", "mount", "level")
    )
    for secret in ("canary", "424242", lab.key, STRANGER, "access-token"):
        assert secret not in caplog.text
    assert (2, 1) == (tally.calls, tally.denied)
    labels = 'client="bot",method="GET",mount="lab",status_class="2xx",template="/v1/accounts"'
    assert f"bearerd_requests_total{{{labels}}} 1.0" in text
    assert 'bearerd_denials_total{client="bot",kind="scope-denied",mount="lab"} 1.0' in text
    assert 'bearerd_upstream_seconds_count{mount="lab"} 1.0' in text
    assert "bearerd_in_flight 0.0" in text


async def test_a_broken_off_answer_is_recorded_as_aborted(caplog: pytest.LogCaptureFixture) -> None:
    """Neither as the broker's answer nor as a refusal of ours; a fault of ours is `internal`."""

    async def cut(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n...")
        visit.writer.close()

    caplog.set_level("DEBUG", "audit")
    async with running() as lab:
        lab.broker.script = [cut]
        assert not (await lab.call("GET", "/lab/v1/accounts")).complete
        lab.mount.relay._place = None  # type: ignore[assignment]
        assert (500, "internal") == await _problem(lab)
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)
    lines = audited(caplog)
    assert [("aborted", 200), ("internal", 500)] == [(line["outcome"], line["status"]) for line in lines]


async def _problem(lab: Lab) -> tuple[int, str]:
    return (await lab.call("GET", "/lab/v1/accounts")).problem
