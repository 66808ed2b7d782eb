"""What a broker partner does about OAuth applications, and what a refused call is turned into."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy import secret
from proxy.admin import CommandFailed, NotPossible
from proxy.audit.calls import Calls
from proxy.errors import Refusal
from proxy.grants import GrantSettings, OAuthApp
from proxy.partneroauth import Partner, Wish, carry_out
from proxy.secret import Secret
from tests.house import house
from tests.lab import APP, APP_SECRET, Lab, access_token, running
from tests.wire import Step, Visit, answer, reset

ACCOUNT = "8e00606a-c9ac-409a-ba45-f55e8f77984a"
TOKEN = "87586f14-c3f4-4912-b107-f75bc17ff87a"
REDIRECT = "http://localhost/callback?a=1&b"
CLIENT = {
    "client_id": APP, "name": "TradingApp", "status": "ACTIVE", "redirect_uri": [REDIRECT, "https://other"],
    "live_trading_approved": False,
}  # fmt: skip
ISSUED = {"access_token": TOKEN, "token_type": "Bearer", "scope": "general"}
CODE = {"code": "912b5502-c983-40f7-a01d-6a66f13a754d", "client_id": APP, "redirect_uri": REDIRECT, "scope": "general"}
UNAUTHORIZED = "Client does not exist, or you do not have access to the client, or client_secret is incorrect."


def says(document: object, status: int = 200, *headers: str) -> Step:
    async def step(visit: Visit) -> None:
        await visit.read()
        await visit.json(document, status, *headers)

    return step


async def reset_after_request(visit: Visit) -> None:
    await visit.read()
    reset(visit.writer)


def issue(call: str = "token", **fields: Any) -> Wish:
    return Wish(call, "lab", **({"client_id": APP, "account": ACCOUNT, "redirect_uri": REDIRECT} | fields))


@asynccontextmanager
async def partner(*script: Step, **app: Any) -> AsyncIterator[tuple[Partner, Lab]]:
    """A partner whose application is kept with `app`, at a broker that plays `script`. Clients may do nothing here."""
    async with running(scopes=()) as lab:
        lab.broker.script = list(script)
        broker = lab.mount.broker
        login = broker.login()
        apps = {APP: OAuthApp(Secret(APP_SECRET), **app)}
        endpoints = lab.environment.endpoints(login)
        grant = GrantSettings("lab", broker, lab.environment, login, endpoints, apps=apps)
        yield Partner(lab.mount, grant, Calls(lab.trail)), lab
        assert 0 == lab.lent


async def failure(found: Partner, wish: Wish) -> CommandFailed:
    with pytest.raises(CommandFailed) as caught:
        await found.carry_out(wish)
    assert APP_SECRET not in f"{caught.value.message} {caught.value.fix}"
    return caught.value


async def test_an_application_is_looked_up() -> None:
    """With what its flow asks for, encoded; no body and no secret go along."""
    async with partner(says(CLIENT), says(CLIENT)) as (found, lab):
        wish = Wish("client", "lab", APP, response_type="code", redirect_uri="http://a/?b=c&d", scope="general x")
        assert {"status": 200, "answer": CLIENT} == await found.carry_out(wish)
        assert {"status": 200, "answer": CLIENT} == await found.carry_out(Wish("client", "lab", APP))

        visit, bare = lab.broker.visits
        assert b"GET /v1/oauth/clients/" + APP.encode() + b" HTTP/1.1" == bare.line
        query = b"response_type=code&redirect_uri=http%3A%2F%2Fa%2F%3Fb%3Dc%26d&scope=general%20x"
        assert b"GET /v1/oauth/clients/" + APP.encode() + b"?" + query + b" HTTP/1.1" == visit.line
        assert (b"", access_token(1)) == (visit.body, visit.bearer)


@pytest.mark.parametrize(("call", "answered"), [("token", ISSUED), ("authorize", CODE)])
async def test_a_token_or_a_code_is_issued_for_an_account(
    call: str, answered: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All five documented fields, the secret being ours; the answer is the broker's, and no log will ever show it."""
    caplog.set_level("DEBUG")
    hidden: list[str] = []
    monkeypatch.setattr(secret, "_listeners", [*secret._listeners, hidden.append])
    async with partner(says(answered)) as (found, lab):
        assert {"status": 200, "answer": answered} == await found.carry_out(issue(call))

        (visit,) = lab.broker.visits
        assert f"POST /v1/oauth/{call} HTTP/1.1".encode() == visit.line
        assert {
            "client_id": APP, "client_secret": APP_SECRET, "redirect_uri": REDIRECT, "scope": "general",
            "account_id": ACCOUNT,
        } == json.loads(visit.body)  # fmt: skip
        assert ["application/json"] == visit.all("Content-Type")
    assert answered[{"token": "access_token", "authorize": "code"}[call]] in hidden
    assert APP_SECRET not in caplog.text
    assert TOKEN not in caplog.text
    assert CODE["code"] not in caplog.text


async def test_the_configuration_says_what_the_command_leaves_out() -> None:
    """Redirect URI and scope of the application; what the command says goes first."""
    async with partner(says(ISSUED), says(ISSUED), redirect_uri="https://kept", scope="kept") as (found, lab):
        await found.carry_out(issue(redirect_uri=None))
        await found.carry_out(issue(redirect_uri="https://said", scope="said"))

        sent = [json.loads(visit.body) for visit in lab.broker.visits]
        assert [("https://kept", "kept"), ("https://said", "said")] == [
            (body["redirect_uri"], body["scope"]) for body in sent
        ]


@pytest.mark.parametrize("call", ["token", "authorize", "revoke"])
async def test_what_may_have_been_done_is_not_done_twice(call: str) -> None:
    """It has a connection of its own; when that broke after the request, only the broker knows what became of it."""
    async with partner(reset_after_request) as (found, lab):
        with pytest.raises(Refusal) as caught:
            await found.carry_out(issue(call) if call != "revoke" else Wish("revoke", "lab", token_id=TOKEN))

        (visit,) = lab.broker.visits
        assert ("outcome-unknown", ["close"]) == (caught.value.kind.name, visit.all("Connection"))


async def test_a_token_is_revoked(caplog: pytest.LogCaptureFixture) -> None:
    """204 without a body; the id, which may be the token, stands in no log."""
    caplog.set_level("DEBUG")

    async def revoked(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with partner(revoked) as (found, lab):
        assert {"status": 204, "answer": None} == await found.carry_out(Wish("revoke", "lab", token_id=TOKEN))
        assert f"DELETE /v1/oauth/token/{TOKEN} HTTP/1.1".encode() == lab.broker.visits[0].line
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(Wish("revoke", "lab", token_id=TOKEN))


async def test_each_call_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """By the operator, with the row's template."""
    caplog.set_level("INFO")
    async with partner(says(ISSUED)) as (found, _):
        await found.carry_out(issue())
    (line,) = [record.msg for record in caplog.records if record.name == "audit" and isinstance(record.msg, dict)]
    assert ("operator", "lab", "/v1/oauth/token", 200, "broker", True) == tuple(
        line[key] for key in ("client", "mount", "row", "status", "outcome", "mutating")
    )


LOOKED_UP = says(CLIENT)
UNKNOWN = says("Client does not exist, or you do not have access to the client", 401)
REFUSALS: list[tuple[str, list[Step], dict[str, Any], str, str]] = [
    ("client", [UNKNOWN], {}, "no OAuth client with this client_id", "check the client_id"),
    ("token", [says(UNAUTHORIZED, 401), LOOKED_UP], {}, "its client_secret is wrong", f"grants.lab.apps.{APP}"),
    ("token", [says(UNAUTHORIZED, 401), UNKNOWN], {}, "no OAuth client with this client_id", "check the client_id"),
    ("token", [says(UNAUTHORIZED, 401), says(CLIENT | {"status": "DISABLED"})], {}, "disabled", "support"),
    ("token", [says(UNAUTHORIZED, 401), says({"code": 40110000}, 401)], {}, "no OAuth client", "check the client_id"),
    ("authorize", [says(UNAUTHORIZED, 401), LOOKED_UP], {}, "its client_secret is wrong", "bearerd reload"),
    ("token", [says("bad", 422), LOOKED_UP], {"redirect_uri": "http://x"}, "not registered", "--redirect-uri"),
    ("token", [says("bad", 422), LOOKED_UP], {"scope": "all"}, "does not take the scope 'all', or the", "--scope"),
    (
        "token",
        [says("bad", 422), says(CLIENT | {"redirect_uri": REDIRECT})],
        {"scope": "a"},
        "the scope 'a'",
        "--scope",
    ),
    ("authorize", [says("bad", 422), UNKNOWN], {}, "the redirect_uri or the scope", "--redirect-uri and --scope"),
    ("token", [says({"message": "oops"}, 500)], {}, "failed (500)", "support of Lab"),
    ("client", [says("oops", 503)], {}, "failed (503)", "try again later"),
    ("revoke", [says("", 404)], {}, "no such token (404)", ""),
    ("revoke", [says("", 401)], {}, "no such token (401)", ""),
    ("client", [says("", 502)], {}, "failed (502)", "try again later"),
    ("client", [says({"message": "slow down"}, 429)], {}, "answered 429. It says: slow down.", ""),
    ("token", [says({"token_type": "Bearer"})], {}, "not with what was asked for", ""),
    ("authorize", [says(["code"])], {}, "not with what was asked for", ""),
    ("client", [says([])], {}, "not with what was asked for", ""),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
async def test_a_refusal_says_which_part_was_wrong(number: int) -> None:
    """401 and 422 stand for several causes each; a look at the application tells them apart."""
    call, script, fields, message, fix = REFUSALS[number]
    wish = issue(call, **fields) if call in ("token", "authorize") else Wish(call, "lab", APP, token_id=TOKEN)
    async with partner(*script) as (found, lab):
        caught = await failure(found, wish)

        assert message in caught.message
        assert fix in (caught.fix or "")
        assert len(script) == len(lab.broker.visits)


async def test_a_gateway_that_has_lost_the_answer_proves_nothing() -> None:
    """The token may be revoked, or not."""
    async with partner(says("", 502)) as (found, lab):
        with pytest.raises(Refusal, match="outcome-unknown"):
            await found.carry_out(Wish("revoke", "lab", token_id=TOKEN))

        assert 1 == len(lab.broker.visits)


async def test_the_brokers_own_words_are_shown() -> None:
    """On one line, in bounds, with the number that its support asks for, and never with the token."""
    words = f"\x1b[2Jno {TOKEN}\nhere " + "x" * 500
    async with partner(says(words, 404, "X-Request-ID: b-1")) as (found, _):
        caught = await failure(found, Wish("revoke", "lab", token_id=TOKEN))

        assert "It says:  [2Jno *** here xxx" in caught.message
        assert TOKEN not in caught.message
        assert len(caught.message) < 400
        assert "Its request id is b-1." in caught.message


async def test_an_answer_that_holds_our_secret_is_not_shown() -> None:
    """It is withheld as it would be from a client."""
    async with partner(says(f"{APP_SECRET} is wrong", 401)) as (found, _):
        with pytest.raises(Refusal) as caught:
            await found.carry_out(issue())
        assert "outcome-unknown" == caught.value.kind.name
        assert APP_SECRET not in caught.value.detail


@pytest.mark.parametrize("wanted", ["", "a/b", "..", "x?y", f"{APP}?x=1", f"{APP}?", "a b", "é", "A" * 200])
async def test_what_is_no_id_is_sent_nowhere(wanted: str) -> None:
    """Neither as an application nor as a token: the row's own pattern decides."""
    async with partner() as (found, lab):
        for wish in (Wish("client", "lab", wanted), Wish("revoke", "lab", token_id=wanted)):
            with pytest.raises(NotPossible, match="form of the ids"):
                await found.carry_out(wish)
        assert [] == lab.broker.visits


async def test_an_application_without_a_kept_secret_is_not_asked_about() -> None:
    """Nor one without a redirect URI, which the broker requires."""
    async with partner() as (found, lab):
        with pytest.raises(NotPossible, match="not kept here") as caught:
            await found.carry_out(issue(client_id="0a"))
        assert "grants.lab.apps" in (caught.value.fix or "")
        with pytest.raises(NotPossible, match="redirect URI") as caught:
            await found.carry_out(issue(redirect_uri=None))
        assert "--redirect-uri" in (caught.value.fix or "")
        assert [] == lab.broker.visits


async def test_an_answer_without_a_length_is_read_to_its_end() -> None:
    """And one without an end is given up."""

    async def chunked(visit: Visit) -> None:
        body = json.dumps(CLIENT).encode()
        await visit.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        )

    async def large(visit: Visit) -> None:
        await visit.write(answer(200, b"x" * 100_000))

    async def cut(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        visit.writer.close()

    async with partner(chunked, large, cut) as (found, _):
        wish = Wish("client", "lab", APP)
        assert CLIENT == (await found.carry_out(wish))["answer"]
        for words in ("longer than any", "broke off"):
            with pytest.raises(Refusal) as caught:
                await found.carry_out(wish)
            assert words in caught.value.detail


async def test_a_mount_of_another_broker_has_no_such_calls(tmp_path: Path) -> None:
    """Questrade's; and a mount that is not there is named."""
    async with house(tmp_path, login=False) as found:
        for call in ("client", "token", "authorize", "revoke"):
            with pytest.raises(NotPossible, match="documents no such call"):
                await carry_out(found.app, {"call": call, "mount": "questrade", "client_id": APP})
        with pytest.raises(NotPossible, match="no mount 'nowhere'"):
            await carry_out(found.app, {"call": "client", "mount": "nowhere", "client_id": APP})
