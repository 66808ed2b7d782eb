"""The broker's token endpoint as its clients know it: a client key in, the same client key out."""

import asyncio
from urllib.parse import quote

import pytest

from proxy.gate.clients import new_key
from tests.lab import Lab, running
from tests.wire import Reply

PATH = "/lab/oauth2/token"
FORM = "Content-Type: application/x-www-form-urlencoded"
REAL = "aSBhbSBhIHJlYWwgcmVmcmVzaCB0b2tlbg0"
STRANGER = new_key(lambda count: b"\xff" * count).reveal()


async def ask(lab: Lab, form: str, key: str) -> Reply:
    """A token request in one of the forms that clients use."""
    fields = f"grant_type=refresh_token&refresh_token={quote(key)}"
    match form:
        case "GET query":
            return await lab.call("GET", f"{PATH}?{fields}", key="")
        case "POST query":
            return await lab.call("POST", f"{PATH}?{fields}", "Content-Length: 0", key="")
        case "POST form":
            return await lab.call("POST", PATH, FORM, body=fields.encode(), key="")
        case "unlabelled form":
            return await lab.call("POST", PATH, body=fields.encode(), key="")
        case "doubled slash":
            return await lab.call("GET", f"/lab//oauth2/token?{fields}", key="")
        case _:
            return await lab.call("POST", PATH, FORM, body=b"grant_type=refresh_token", key=key)


FORMS = ["GET query", "POST query", "POST form", "unlabelled form", "doubled slash", "header"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_client_that_refreshes_gets_its_key_back(form: str) -> None:
    """Five fields and no sixth; the API server is the mount, under the name that the client used, with a slash."""
    async with running() as lab:
        reply = await ask(lab, form, lab.key)

        assert (200, "application/json", "no-store") == (
            reply.status, reply.one("Content-Type"), reply.one("Cache-Control"),
        )  # fmt: skip
        assert {
            "access_token": lab.key,
            "api_server": f"http://{lab.host}/lab/",
            "expires_in": 1800,
            "refresh_token": lab.key,
            "token_type": "Bearer",
        } == reply.document
        assert (0, []) == (lab.desk.refreshes, lab.broker.visits)
        assert 1 == lab.gateway.serving.tallies["lab"].calls


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sent", [REAL, STRANGER, ""])
async def test_an_unknown_token_is_refused_and_never_repeated(form: str, sent: str) -> None:
    """It may be a real refresh token; nothing is forwarded."""
    async with running() as lab:
        reply = await ask(lab, form, sent)

        assert (401, "unknown-client") == reply.problem
        assert not sent or sent.encode() not in reply.body
        assert [] == lab.broker.visits


@pytest.mark.parametrize("form", FORMS)
async def test_without_clients_everybody_gets_a_dummy(form: str) -> None:
    """Whatever was sent, a real token too."""
    async with running(open_to_all=True) as lab:
        reply = await ask(lab, form, REAL)

        assert ("local", "local") == (reply.document["access_token"], reply.document["refresh_token"])
        assert REAL.encode() not in reply.body


async def test_the_api_server_has_the_name_that_the_client_used() -> None:
    """A client on another host could do nothing with our idea of it; at a root there is no mount in it."""
    async with running() as lab:
        target = f"{PATH}?refresh_token={lab.key}"
        named = await lab.call("GET", target, key="", host=f"localhost:{lab.port}")
        assert f"http://localhost:{lab.port}/lab/" == named.document["api_server"]
    async with running(root=True) as lab:
        reply = await lab.call("GET", f"/oauth2/token?refresh_token={lab.key}", key="")
        assert f"http://{lab.host}/" == reply.document["api_server"]


async def test_the_key_works_where_the_answer_says() -> None:
    """What a client does next: the access token as its bearer, at the API server."""
    async with running() as lab:
        document = (await lab.call("GET", f"{PATH}?refresh_token={lab.key}", key="")).document
        prefix = document["api_server"].removeprefix(f"http://{lab.host}")
        assert 200 == (await lab.call("GET", f"{prefix}v1/accounts", key=document["access_token"])).status


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
async def test_other_methods_are_no_token_requests(method: str) -> None:
    """They are calls without a row, and are not forwarded either."""
    async with running() as lab:
        assert 403 == (await lab.call(method, PATH)).status
        assert [] == lab.broker.visits


async def test_web_pages_and_odd_headers_are_refused_here_too() -> None:
    """The checks before are the same for every path."""
    async with running() as lab:
        target = f"{PATH}?refresh_token={lab.key}"
        assert (403, "cross-site") == (await lab.call("GET", target, "Origin: https://x.example")).problem
        assert (421, "wrong-host") == (await lab.call("GET", target, host="evil.example")).problem
        assert (400, "bad-request") == (await lab.call("GET", target, "X_A: b")).problem


async def test_a_form_has_a_limit() -> None:
    """8192 bytes pass, one more is 413, announced or not."""
    async with running() as lab:
        form = f"refresh_token={lab.key}&padding=".encode()
        whole = form + b"x" * (8192 - len(form))
        assert 200 == (await lab.call("POST", PATH, FORM, body=whole, key="")).status
        assert (413, "body-too-large") == (await lab.call("POST", PATH, FORM, body=whole + b"x", key="")).problem
        async with lab.connect() as wire:
            chunk = b"2001\r\n%s\r\n" % (whole + b"x")
            await wire.send(lab.request("POST", PATH, FORM, "Transfer-Encoding: chunked", key="") + chunk)
            assert (413, "body-too-large") == (await wire.reply()).problem


async def test_a_form_has_a_time_limit() -> None:
    """Nobody has said yet who is asking: a byte now and then does not keep the connection."""
    async with running() as lab, lab.connect() as wire, asyncio.TaskGroup() as group:
        lab.change(patience=0.3)
        await wire.send(lab.request("POST", PATH, FORM, "Content-Length: 8000", key=""))
        answer = group.create_task(wire.reply())
        for _ in range(40):
            if not answer.done():
                await wire.send(b"x")
                await asyncio.sleep(0.05)
        assert answer.done()
        assert (408, "slow-request") == (await answer).problem


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&".join(b"a=b" for _ in range(40)), b"{}"])
async def test_an_unreadable_form_holds_no_key(body: bytes) -> None:
    """401, like a form without one."""
    async with running() as lab:
        assert (401, "unknown-client") == (await lab.call("POST", PATH, FORM, body=body, key="")).problem
