"""The token endpoint on real TLS sockets: what is sent, once, and what each way of failing is told as."""

import asyncio
import base64
import logging
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import aiohttp
import pytest

from proxy.brokers.definition import Endpoints, Login
from proxy.clock import SystemClock
from proxy.outbound import CONNECT_TIMEOUT, Lost, NotSent
from proxy.secret import Secret
from proxy.simulator import ca, serve
from proxy.simulator.questrade.options import Options
from proxy.tokens import oauth
from proxy.tokens.oauth import Exchange, Mint, Plain, RawAnswer, Refresh, TokenEndpoint, Wish
from proxy.tokens.skew import Skew
from tests.wire import ScriptedBroker, Step, Visit, answer, reset

PASTED = Login("refresh-token", "refresh-token")
TOKEN = "a+b/c=&d e%20é"
PAIR = b'{"access_token": "A", "refresh_token": "R"}'


@pytest.fixture
def endpoint(broker: ScriptedBroker, authority: ca.Authority) -> TokenEndpoint:
    return endpoint_at(broker.port, authority.ca_file)


def endpoint_at(port: int, ca_file: Path | None) -> TokenEndpoint:
    return at(f"https://127.0.0.1:{port}/oauth2", ca_file)


def at(
    url: str, ca_file: Path | None = None, login: Login = PASTED, client: tuple[str, str] | None = None
) -> TokenEndpoint:
    return TokenEndpoint(
        Endpoints(f"{url}/token", revoke_url=f"{url}/revoke"),
        login,
        "bearerd/test",
        client_id=client[0] if client else None,
        client_secret=Secret(client[1]) if client else None,
        ca_file=str(ca_file) if ca_file else None,
    )


def says(data: bytes, *, end: Callable[[asyncio.StreamWriter], None] | None = None) -> Step:
    """Read the whole request, write this, and end the connection in one way or another."""

    async def step(visit: Visit) -> None:
        await visit.read()
        await visit.write(data)
        if end is not None:
            await asyncio.sleep(0.02)
            end(visit.writer)

    return step


async def test_a_redeem_is_one_form_post_and_the_token_is_nowhere_else(
    endpoint: TokenEndpoint, broker: ScriptedBroker
) -> None:
    """Percent-encoded in the body; not in the target, not in a header; no cookies, nothing packed, our own name."""
    broker.script.append(says(answer(200, PAIR, "Content-Type: application/json", "Set-Cookie: a=b")))
    broker.script.append(says(answer(200, PAIR)))
    raw = await endpoint.ask(Refresh(Secret(TOKEN)))
    await endpoint.ask(Refresh(Secret(TOKEN)))

    assert RawAnswer(200, "application/json", PAIR) == raw
    first, second = broker.visits
    assert b"POST /oauth2/token HTTP/1.1" == first.line
    form = parse_qs(first.body.decode(), strict_parsing=True)
    assert {"grant_type": ["refresh_token"], "refresh_token": [TOKEN]} == form
    assert ["application/x-www-form-urlencoded"] == first.all("Content-Type")
    assert (["bearerd/test"], ["application/json"]) == (first.all("User-Agent"), first.all("Accept"))
    assert ([], ["identity"]) == (second.all("Cookie"), first.all("Accept-Encoding"))
    assert 2 == broker.connections


BASIC = Login("connect", "code", client_auth="basic", omits=frozenset({"redirect_uri"}))
FORM = Login("code", "code", client_auth="form")
CLIENT = ("demo-client", "demo-secret")
CODE = Exchange(Secret("C0DE"), "http://127.0.0.1:1/callback", Secret("V3R"))


@pytest.mark.parametrize(
    ("login", "wish", "form"),
    [
        (PASTED, Refresh(Secret("R")), {
            "grant_type": "refresh_token", "refresh_token": "R", "client_id": "demo-client",
        }),
        (PASTED, Mint(), {"grant_type": "client_credentials", "client_id": "demo-client"}),
        (BASIC, Mint(), {"grant_type": "client_credentials"}),
        (BASIC, CODE, {"grant_type": "authorization_code", "code": "C0DE", "code_verifier": "V3R"}),
        (BASIC, Refresh(Secret("R")), {"grant_type": "refresh_token", "refresh_token": "R"}),
        (FORM, Exchange(Secret("C0DE")), {
            "grant_type": "authorization_code", "code": "C0DE", "client_id": "demo-client",
            "client_secret": "demo-secret",
        }),
        (FORM, CODE, {
            "grant_type": "authorization_code", "code": "C0DE", "redirect_uri": "http://127.0.0.1:1/callback",
            "code_verifier": "V3R", "client_id": "demo-client", "client_secret": "demo-secret",
        }),
        (FORM, Mint(), {
            "grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "demo-secret",
        }),
    ],
    ids=[
        "refresh", "public mint", "basic mint", "basic code", "basic refresh", "form code bare", "form code",
        "form mint",
    ],
)  # fmt: skip
async def test_each_wish_is_one_form_with_the_client_where_the_login_has_it(
    broker: ScriptedBroker,
    authority: ca.Authority,
    login: Login,
    wish: Wish,
    form: dict[str, str],
) -> None:
    """Tradier's test vector for Basic; no secret in the request line, and in no header but that one."""
    broker.script.append(says(answer(200, PAIR)))
    await at(f"https://127.0.0.1:{broker.port}/oauth2", authority.ca_file, login, CLIENT).ask(wish)
    (visit,) = broker.visits

    assert form == {name: value for name, (value,) in parse_qs(visit.body.decode(), strict_parsing=True).items()}
    basic = ["Basic ZGVtby1jbGllbnQ6ZGVtby1zZWNyZXQ="] if login is BASIC else []
    assert (b"POST /oauth2/token HTTP/1.1", basic) == (visit.line, visit.all("Authorization"))


@pytest.mark.parametrize(
    ("client", "decoded"),
    [
        (("a:b", "c d"), b"a%3Ab:c+d"),
        (("é", "%/?&="), b"%C3%A9:%25%2F%3F%26%3D"),
        (("id", ""), b"id:"),
        (("plain_-.~09", "AZ"), b"plain_-.~09:AZ"),
    ],
    ids=["colon and space", "other script", "no secret", "unreserved"],
)
async def test_basic_authentication_encodes_both_parts_as_a_form_does(
    broker: ScriptedBroker, authority: ca.Authority, client: tuple[str, str], decoded: bytes
) -> None:
    """RFC 6749, section 2.3.1: the one colon in it is ours."""
    broker.script.append(says(answer(200, PAIR)))
    await at(f"https://127.0.0.1:{broker.port}/oauth2", authority.ca_file, BASIC, client).ask(Mint())
    (header,) = broker.visits[0].all("Authorization")

    assert decoded == base64.b64decode(header.removeprefix("Basic "), validate=True)


async def test_only_a_refresh_goes_to_the_address_for_refreshing(
    broker: ScriptedBroker, authority: ca.Authority
) -> None:
    """Where there is one; codes and client credentials never do."""
    url = f"https://127.0.0.1:{broker.port}/oauth"
    endpoints = Endpoints(f"{url}/accesstoken", refresh_url=f"{url}/refreshtoken")
    endpoint = TokenEndpoint(endpoints, BASIC, "x", CLIENT[0], Secret(CLIENT[1]), str(authority.ca_file))
    for wish in (Refresh(Secret("R")), CODE, Mint()):
        broker.script.append(says(answer(200, PAIR)))
        await endpoint.ask(wish)

    assert [b"refreshtoken", b"accesstoken", b"accesstoken"] == [
        visit.line.split()[1].rpartition(b"/")[2] for visit in broker.visits
    ]


async def test_a_login_without_a_token_endpoint_sends_nothing() -> None:
    """What it would have spent is still good."""
    with pytest.raises(NotSent, match="this login has no token endpoint"):
        await TokenEndpoint(Endpoints(), PASTED, "x").ask(Mint())


def test_what_is_spent_is_named_and_never_shown() -> None:
    """A mint spends nothing; no repr of a wish or an endpoint holds a secret."""
    assert [Secret("R"), CODE.code, None] == [wish.secret for wish in (Refresh(Secret("R")), CODE, Mint())]
    text = repr((CODE, Refresh(Secret("R3FRESH")), Plain(Secret("PL41N")), at("https://x.example", None, FORM, CLIENT)))

    assert [] == [secret for secret in ("C0DE", "V3R", "R3FRESH", "PL41N", "demo-secret") if secret in text]


@pytest.mark.parametrize("data", [b"", b"SSH-2.0\r\n\r\n", answer(200, b"", length=9)], ids=["nothing", "ssh", "cut"])
async def test_an_error_holds_neither_code_nor_client_secret(
    broker: ScriptedBroker, authority: ca.Authority, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """Nor does the log, at any level."""
    caplog.set_level(logging.DEBUG)
    broker.script.append(says(data, end=reset))
    with pytest.raises(Lost) as caught:
        await at(f"https://127.0.0.1:{broker.port}/oauth2", authority.ca_file, FORM, CLIENT).ask(CODE)

    text = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert [] == [secret for secret in ("C0DE", "V3R", "demo-secret") if secret in text]


@pytest.mark.parametrize(
    ("login", "body"),
    [(BASIC, b"token=T"), (FORM, b"token=T&client_id=demo-client&client_secret=demo-secret")],
    ids=["basic", "form"],
)
async def test_a_revocation_proves_who_asks(
    broker: ScriptedBroker, authority: ca.Authority, login: Login, body: bytes
) -> None:
    """As any other request to the token endpoint does (RFC 7009, section 2.1)."""
    broker.script.append(says(answer(200, b"")))
    await at(f"https://127.0.0.1:{broker.port}/oauth2", authority.ca_file, login, CLIENT).revoke(Secret("T"))
    (visit,) = broker.visits

    assert (body, login is BASIC) == (visit.body, bool(visit.all("Authorization")))


async def test_a_revocation_is_a_form_post_too(endpoint: TokenEndpoint, broker: ScriptedBroker) -> None:
    """RFC 7009; without a revoke endpoint it is our own mistake to ask."""
    broker.script.append(says(answer(200, b"")))
    assert 200 == (await endpoint.revoke(Secret("T"))).status
    assert (b"POST /oauth2/revoke HTTP/1.1", b"token=T") == (broker.visits[0].line, broker.visits[0].body)

    with pytest.raises(LookupError, match="no revoke endpoint"):
        await TokenEndpoint(Endpoints("https://127.0.0.1:1/"), PASTED, "x").revoke(Secret("T"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(
    endpoint: TokenEndpoint, broker: ScriptedBroker, status: int
) -> None:
    """The token is not carried to wherever it points."""
    broker.script.append(says(answer(status, b"", f"Location: https://127.0.0.1:{broker.port}/evil")))

    assert (status, 1) == ((await endpoint.ask(Refresh(Secret("R")))).status, len(broker.visits))


@pytest.mark.parametrize(
    ("data", "end", "reason"),
    [
        (b"", reset, "the connection was lost before an answer came"),
        (b"", asyncio.StreamWriter.close, "the connection was lost before an answer came"),
        (b"HTTP/1.1 200 O", reset, "the connection was lost before an answer came"),
        (answer(200, b"", length=50), reset, "the connection was lost before the answer was complete"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", None, "the answer is no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", None, "the answer is no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", None, "the answer is no valid HTTP"),
    ],
)  # fmt: skip
async def test_an_answer_that_does_not_come_is_lost_and_the_request_is_not_repeated(
    endpoint: TokenEndpoint,
    broker: ScriptedBroker,
    data: bytes,
    end: Callable[[asyncio.StreamWriter], None] | None,
    reason: str,
) -> None:
    """One request, whatever happens to it; the error holds our words only."""
    broker.script.append(says(data, end=end))
    with pytest.raises(Lost) as caught:
        await endpoint.ask(Refresh(Secret(TOKEN)))

    assert reason == str(caught.value)
    assert (None, True, 1) == (caught.value.__cause__, caught.value.__suppress_context__, len(broker.visits))


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
async def test_what_came_of_a_broken_body_is_kept(
    endpoint: TokenEndpoint, broker: ScriptedBroker, end: Callable[[asyncio.StreamWriter], None]
) -> None:
    """A complete refresh token may be in it."""
    broker.script.append(says(answer(200, PAIR[:30], length=400), end=end))

    assert (200, PAIR[:30]) == ((raw := await endpoint.ask(Refresh(Secret("R")))).status, raw.body)


async def test_an_answer_is_cut_at_8_kib(endpoint: TokenEndpoint, broker: ScriptedBroker) -> None:
    """However much is announced."""
    broker.script.append(says(answer(200, b"x" * 200_000)))

    assert 8192 == len((await endpoint.ask(Refresh(Secret("R")))).body)


async def test_an_answer_without_an_end_is_not_waited_for(endpoint: TokenEndpoint, broker: ScriptedBroker) -> None:
    """What is longer than any token answer is read no further."""
    broker.script.append(says(answer(200, b"x" * 20_000, length=1_000_000)))
    async with asyncio.timeout(oauth.TOTAL_TIMEOUT / 2):
        raw = await endpoint.ask(Refresh(Secret("R")))

    assert 8192 == len(raw.body)


async def test_an_endpoint_that_hangs_is_lost_when_the_time_is_up(
    endpoint: TokenEndpoint, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty seconds in all; here a fifth of one. What had come by then is kept."""
    assert (30.0, 5.0) == (oauth.TOTAL_TIMEOUT, CONNECT_TIMEOUT)
    monkeypatch.setattr(oauth, "TOTAL_TIMEOUT", 0.2)
    broker.script += [says(b""), says(answer(200, PAIR[:10], length=99))]
    with pytest.raises(Lost, match="no complete answer in time") as caught:
        await endpoint.ask(Refresh(Secret("R")))

    assert "timeout" == caught.value.kind
    assert PAIR[:10] == (await endpoint.ask(Refresh(Secret("R")))).body


async def test_a_port_that_nobody_listens_on_costs_nothing(authority: ca.Authority) -> None:
    """Not a byte has left: the token is not in doubt."""
    with pytest.raises(NotSent, match="the connection was refused or could not be made"):
        await endpoint_at(1, authority.ca_file).ask(Refresh(Secret("R")))


async def test_a_certificate_that_is_not_trusted_costs_nothing(broker: ScriptedBroker) -> None:
    """The handshake ends before the request."""
    with pytest.raises(NotSent, match="the TLS certificate is not trusted"):
        await endpoint_at(broker.port, None).ask(Refresh(Secret("R")))

    assert [] == broker.visits


async def test_only_a_declared_name_may_lead_to_a_private_address(
    broker: ScriptedBroker, authority: ca.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the declared one the certificate is looked at, of another not even that."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", broker.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    near = at(f"https://near.example:{broker.port}/oauth2", authority.ca_file)
    with pytest.raises(NotSent, match="private address"):
        await near.ask(Refresh(Secret("R")))
    with pytest.raises(NotSent, match="certificate"):
        await replace(near, private_hosts=frozenset({"near.example"})).ask(Refresh(Secret("R")))


async def test_no_token_goes_around_an_egress_proxy(endpoint: TokenEndpoint, broker: ScriptedBroker) -> None:
    """Where nobody listens there, nothing is sent."""
    with pytest.raises(NotSent):
        await replace(endpoint, egress="http://127.0.0.1:1").ask(Refresh(Secret("R")))

    assert 0 == broker.connections


async def test_a_name_that_does_not_resolve_costs_nothing(authority: ca.Authority) -> None:
    """Nor does one that leads to this machine, unless the environment says that it may."""
    nowhere = at("https://nowhere.invalid")
    with pytest.raises(NotSent, match="the host name could not be resolved"):
        await nowhere.ask(Refresh(Secret("R")))
    with pytest.raises(NotSent):
        await at("https://localhost:1", authority.ca_file).ask(Refresh(Secret("R")))


async def test_a_name_server_that_hangs_costs_nothing_and_is_given_up_with_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls are held back meanwhile, and no byte has left: neither the whole 30 seconds nor a doubt."""
    hung = threading.Event()
    monkeypatch.setattr(oauth, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setattr(oauth, "TOTAL_TIMEOUT", 2.0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: hung.wait(4))
    try:
        with pytest.raises(NotSent, match="no connection within 5 s"):
            await at("https://login.example").ask(Refresh(Secret("R")))
    finally:
        hung.set()


async def test_a_server_without_tls_costs_nothing(authority: ca.Authority) -> None:
    """It sees a TLS hello and no token."""
    seen = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read(1000))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    with pytest.raises(NotSent):
        await endpoint_at(server.sockets[0].getsockname()[1], authority.ca_file).ask(Refresh(Secret("NEVER-SENT")))
    server.close()

    assert b"NEVER-SENT" not in seen


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_ca_file_that_cannot_be_read_costs_nothing(tmp_path: Path, content: bytes | None) -> None:
    """It is a mistake of ours, made before anything was sent."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(NotSent, match="ca_file cannot be read"):
        await endpoint_at(1, file).ask(Refresh(Secret("R")))


async def test_what_time_it_is_at_the_broker_is_heard(endpoint: TokenEndpoint, broker: ScriptedBroker) -> None:
    """An answer without a date, or with none that can be read, tells nothing."""
    skew = Skew(SystemClock())
    watched = replace(endpoint, skew=skew)
    for headers in ([], ["Date: yesterday"], ["Date: Sun, 01 Mar 2026 10:00:00 GMT"]):
        assert [] == skew.warnings
        broker.script.append(says(answer(200, PAIR, *headers)))
        await watched.ask(Refresh(Secret("R")))

    (warning,) = skew.warnings
    assert "127.0.0.1 says 2026-03-01 10:00:00 UTC" in warning


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Retry-After: 120"], 120.0), (["Retry-After: 0"], 0.0), ([], None), (["Retry-After: soon"], None),
        (["Retry-After: -5"], None), (["Retry-After: 1e9"], None), (["Retry-After: " + "9" * 7], None),
        (["Date: Sun, 01 Mar 2026 10:00:00 GMT", "Retry-After: Sun, 01 Mar 2026 10:02:00 GMT"], 120.0),
        (["Date: Sun, 01 Mar 2026 10:02:00 GMT", "Retry-After: Sun, 01 Mar 2026 10:00:00 GMT"], 0.0),
        (["Retry-After: Sun, 01 Mar 2026 10:02:00 GMT"], None),
        (["Date: Sun, 01 Mar 2026 10:00:00", "Retry-After: Sun, 01 Mar 2026 10:02:00 GMT"], None),
        (["Date: Sun, 01 Mar 2026 10:00:00 GMT", f"Retry-After: Sun, 01 Mar {'9' * 20} 10:02:00 GMT"], None),
        ([f"Date: Sun, 01 Mar 2026 10:00:00 +{'9' * 20}", "Retry-After: Sun, 01 Mar 2026 10:02:00 GMT"], None),
    ],
)  # fmt: skip
async def test_retry_after_is_read_as_seconds_or_date(
    endpoint: TokenEndpoint, broker: ScriptedBroker, headers: list[str], expected: float | None
) -> None:
    """A date counts from the broker's own clock; junk is nothing."""
    broker.script.append(says(answer(429, b"", *headers)))

    assert expected == (await endpoint.ask(Refresh(Secret("R")))).retry_after


async def test_i2_a_mad_header_beside_the_answer_does_not_cost_it(
    endpoint: TokenEndpoint, broker: ScriptedBroker
) -> None:
    """The answer is handed over before anything in it is read, and a date that no calendar has is nothing."""
    kept: list[bytes] = []
    broker.script.append(says(answer(200, PAIR, f"Retry-After: Sun, 01 Mar {'9' * 20} 10:02:00 GMT")))
    raw = await endpoint.ask(Refresh(Secret("R")), lambda raw: kept.append(raw.body))

    assert (PAIR, [PAIR]) == (raw.body, kept)


async def test_nothing_runs_between_the_last_byte_and_who_keeps_it(
    endpoint: TokenEndpoint, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is told of in the turn of the loop that read it; closing the session takes more turns."""
    loop, turns, read = asyncio.get_running_loop(), 0, oauth._read
    seen: dict[str, int] = {}

    def tick() -> None:
        nonlocal turns
        turns += 1
        if "returned" not in seen:
            loop.call_soon(tick)

    async def watched(raw: aiohttp.ClientResponse, seconds: float) -> bytes:
        body = await read(raw, seconds)
        seen["read"] = turns
        return body

    monkeypatch.setattr(oauth, "_read", watched)
    broker.script.append(says(answer(200, PAIR)))
    loop.call_soon(tick)
    await endpoint.ask(Refresh(Secret("R")), lambda _raw: seen.update(told=turns))
    seen["returned"] = turns

    assert seen["read"] == seen["told"] < seen["returned"]


async def test_a_caller_that_is_cancelled_leaves_no_connection(endpoint: TokenEndpoint, broker: ScriptedBroker) -> None:
    """The broker sees it end."""

    arrived = asyncio.Event()

    async def wait(visit: Visit) -> None:
        await visit.read()
        arrived.set()
        await visit.wait_gone()

    broker.script.append(wait)
    task = asyncio.ensure_future(endpoint.ask(Refresh(Secret("R"))))
    await arrived.wait()
    task.cancel()

    await asyncio.wait_for(broker.visits[0].gone.wait(), 5)


async def test_the_simulated_questrade_is_redeemed_and_refuses_a_second_time(tmp_path: Path) -> None:
    """The same steps against the whole thing."""
    running = await serve.start(directory=tmp_path, options=Options(reserved_characters=True))
    links = running.simulators["questrade"].links()
    endpoint = TokenEndpoint(Endpoints(links.token_url), PASTED, "bearerd/test", ca_file=str(running.ca_file))
    token = Secret(links.refresh_token or "")
    first, second = await endpoint.ask(Refresh(token)), await endpoint.ask(Refresh(token))
    await running.stop()

    assert (200, 400, b"Bad Request") == (first.status, second.status, second.body)
    assert b'"refresh_token"' in first.body


def test_an_answer_does_not_show_its_body() -> None:
    """Nor does the endpoint show a token: it holds none."""
    assert "RawAnswer(200, 43 bytes)" == repr(RawAnswer(200, "application/json", PAIR))
