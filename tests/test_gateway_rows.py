"""Rows that want something of their own: another start, no scope at all, a WebSocket, a secret put into the body."""

import json

import pytest

from proxy.brokers.definition import Placement
from tests.lab import APP, APP_SECRET, running
from tests.wire import Visit, answer


@pytest.mark.parametrize("pair", ["AAPL", "BTC%2FUSD"])
@pytest.mark.parametrize("query", ["", "?", "?symbols=BTC%2FUSD&a=%2c+&b"])
async def test_a_row_may_be_sent_under_another_constant_start(pair: str, query: str) -> None:
    """The rest of the path, captures first of all, and the query are sent byte for byte."""
    async with running() as lab:
        for mount in ("/lab", "/lab/"):
            assert 200 == (await lab.call("GET", f"{mount}/v1/beta/{pair}/news:latest{query}")).status
        for other in (
            "/lab/beta/AAPL/news:latest",
            "/lab/v1/beta/AAPL/news%3Alatest",
            "/lab/v1/beta/BTC%2fUSD/news:latest",
        ):
            assert 400 <= (await lab.call("GET", other)).status < 404

        assert [f"/beta/{pair}/news:latest{query}".encode()] * 2 == [visit.target for visit in lab.broker.visits]


async def test_a_redirect_comes_back_under_the_start_that_is_called() -> None:
    """A client that follows it calls a row again."""

    async def redirect(visit: Visit) -> None:
        await visit.json({}, 307, "Location: /beta/MSFT/news:latest?x=1")

    async with running() as lab:
        lab.broker.script = [redirect]
        reply = await lab.call("GET", "/lab/v1/beta/AAPL/news:latest")

        location = reply.one("Location") or ""
        assert f"http://{lab.host}/lab/v1/beta/MSFT/news:latest?x=1" == location
        assert 200 == (await lab.call("GET", location.removeprefix(f"http://{lab.host}"))).status


async def test_a_denied_row_is_opened_by_nothing() -> None:
    """The broker documents the call, and no scope for it; the refusal says so."""
    async with running() as lab:
        reply = await lab.call("GET", "/lab/v1/wallet")

        assert (403, "scope-denied") == reply.problem
        assert "Lab documents no scope for GET /v1/wallet" in reply.document["message"]
        assert "nothing opens it" in reply.document["message"]
        assert [] == lab.broker.visits


async def test_a_websocket_is_told_of_only_to_those_who_may_open_it() -> None:
    """The scope comes first; then 426 says that it is one, and the connection is not used on."""
    upgrade = (
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    async with running(scopes=("read",)) as lab:
        reply = await lab.call("GET", "/lab/v1/events", *upgrade)
        assert ((403, "scope-denied"), "close") == (reply.problem, reply.one("Connection"))
        lab.change_mount(scopes=frozenset({"read", "trade"}))
        reply = await lab.call("GET", "/lab/v1/events")
        assert ((426, "upgrade-required"), "close") == (reply.problem, reply.one("Connection"))
        assert "WebSocket" in reply.document["message"]
        reply = await lab.call("GET", "/lab/v1/accounts", *upgrade)
        assert (400, "bad-request") == reply.problem
        assert "no WebSocket is opened by this call" in reply.document["message"]
        assert 401 == (await lab.call("GET", "/lab/v1/events", *upgrade, key="")).status
        reply = await lab.call("GET", f"/lab/oauth2/token?refresh_token={lab.key}", *upgrade, key="")
        assert (400, "bad-request") == reply.problem
        assert [] == lab.broker.visits


async def test_what_follows_a_refused_upgrade_is_no_request() -> None:
    """Bytes meant for a WebSocket reach nobody, and no second answer comes."""
    async with running() as lab, lab.connect() as wire:
        head = lab.request("GET", "/lab/v1/accounts", "Connection: Upgrade", "Upgrade: websocket")
        await wire.send(head + lab.request("GET", "/lab/v1/accounts"))
        assert 400 == (await wire.reply()).status
        assert await wire.ended()
    assert [] == lab.broker.visits


TOKEN = "/lab/v1/oauth/token"
GIVEN = {"account_id": "8e00606a-c9ac-409a-ba45-f55e8f77984a", "scope": "general", "redirect_uri": "http://a/?b&c"}


@pytest.mark.parametrize("guess", [{}, {"client_secret": "a-guess"}, {"Client_Secret": "a-guess"}])
async def test_an_applications_secret_is_put_in_here(guess: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """The client names the application; whatever it says of the secret, the kept one is sent, under our own framing."""
    caplog.set_level("DEBUG")
    async with running() as lab:
        body = json.dumps({"client_id": APP} | GIVEN | guess).encode()
        reply = await lab.call("POST", TOKEN, "Content-Type: application/x-www-form-urlencoded", body=body)

        assert 200 == reply.status
        (visit,) = lab.broker.visits
        assert {"client_id": APP, "client_secret": APP_SECRET} | GIVEN == json.loads(visit.body)
        assert ([str(len(visit.body))], ["application/json"]) == (
            visit.all("Content-Length"),
            visit.all("Content-Type"),
        )
        assert b"a-guess" not in visit.body
        assert not set(b"&;") & set(visit.body)
    assert APP_SECRET not in caplog.text
    assert "a-guess" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"client_id=7a3c52a910e1dc2abbb14da2b6b8e711", b'{"client_id": "another"}', b'{"scope": "general"}',
        b'{"client_id": "7a3c52a910e1dc2abbb14da2b6b8e711", "client_id": "another"}',
        b'{"Client_Id": "7a3c52a910e1dc2abbb14da2b6b8e711"}',
    ],
)  # fmt: skip
async def test_a_body_that_names_no_kept_application_is_not_filled(body: bytes) -> None:
    """403, with the line to add; nothing is sent."""
    async with running() as lab:
        reply = await lab.call("POST", TOKEN, body=body)

        assert (403, "guard-denied") == reply.problem
        assert APP_SECRET.encode() not in reply.body
        assert [] == lab.broker.visits
        if b"another" in body and body.count(b"client_id") == 1:
            assert "grants.lab.apps" in reply.document["fix"]


async def test_nothing_is_filled_before_the_scope_is_granted_by_name() -> None:
    """Neither the mount's list nor the client's may lack it."""
    body = json.dumps({"client_id": APP} | GIVEN).encode()
    async with running(scopes=("read", "trade")) as lab:
        assert (403, "scope-denied") == (await lab.call("POST", TOKEN, body=body)).problem
    async with running(clients={"bot": {"lab": frozenset({"read", "trade"})}}) as lab:
        assert (403, "scope-denied") == (await lab.call("POST", TOKEN, body=body)).problem
        assert [] == lab.broker.visits


@pytest.mark.parametrize("echo", [APP_SECRET, APP_SECRET.replace("/", "%2F"), APP_SECRET.replace("/", "\\/")])
async def test_an_answer_that_gives_the_applications_secret_back_is_withheld(echo: str) -> None:
    """The call was sent, so that its outcome is not known; the secret stays here."""

    async def echoes(visit: Visit) -> None:
        await visit.read()
        await visit.write(answer(422, f'"{echo} is wrong"'.encode()))

    async with running() as lab:
        lab.broker.script = [echoes]
        reply = await lab.call("POST", TOKEN, body=json.dumps({"client_id": APP} | GIVEN).encode())

        assert (500, "outcome-unknown") == reply.problem
        assert b"is wrong" not in reply.body


async def test_a_query_never_names_the_parameter_of_our_credential() -> None:
    """In no spelling; any other query has ours added at its end."""
    async with running(placement=Placement("query", ("api_key",)), credential="the/key", fixed=True) as lab:
        for query in ("?api_key=x", "?API_KEY", "?a=1&api%5Fkey=x", "?a=1;api-key=x", "?api.key=x"):
            reply = await lab.call("GET", f"/lab/v1/accounts{query}")
            assert (403, "guard-denied") == reply.problem
            assert "`api_key`" in reply.document["message"]
        for query in ("", "?", "?a=%2C&b=api_key"):
            assert 200 == (await lab.call("GET", f"/lab/v1/accounts{query}")).status

        assert [
            b"/v1/accounts?api_key=the%2Fkey", b"/v1/accounts?api_key=the%2Fkey",
            b"/v1/accounts?a=%2C&b=api_key&api_key=the%2Fkey",
        ] == [visit.target for visit in lab.broker.visits]  # fmt: skip
        assert [] == [visit for visit in lab.broker.visits if visit.all("Authorization")]


async def test_a_key_pair_goes_without_authorization(caplog: pytest.LogCaptureFixture) -> None:
    """The client's own pair is replaced by the broker's; neither stands in a log."""
    caplog.set_level("DEBUG")
    names = ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY")
    async with running(placement=Placement("headers", names), credential="the-id:the-secret", fixed=True) as lab:
        given = ("APCA-API-KEY-ID: bearerd", f"APCA-API-SECRET-KEY: {lab.key}")
        assert 200 == (await lab.call("GET", "/lab/v1/accounts", *given, key="")).status

        (visit,) = lab.broker.visits
        assert [["the-id"], ["the-secret"], []] == [visit.all(name) for name in (*names, "Authorization")]
        assert lab.key not in caplog.text
        assert "the-secret" not in caplog.text
