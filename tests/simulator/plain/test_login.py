"""The login page and the token endpoint of a plain broker."""

import base64
import hashlib
from urllib.parse import urlencode

import pytest

from tests.simulator.plain.bench import CALLBACK, CODE, MINTED, PASTED
from tests.simulator.plain.conftest import Start
from tests.simulator.support import FORM, HandClock, Reply

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def _error(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.document["error"]


async def test_a_login_by_code_gives_both_tokens(start: Start) -> None:
    """The answer has what the file adds to it, and the redirect too."""
    bench = await start(CODE)
    sent_back = bench.approved()
    reply = await bench.exchange(sent_back["code"])

    assert {"code", "session", "state"} == set(sent_back)
    assert ("7", "s") == (sent_back["session"], sent_back["state"])
    assert {"access_token", "refresh_token", "token_type", "expires_in", "scope"} == set(reply.document)
    assert ("Bearer", 1800, "api") == tuple(reply.document[key] for key in ("token_type", "expires_in", "scope"))


async def test_a_browser_can_use_the_page(start: Start) -> None:
    """GET shows whom to allow; the button's POST leads back to the application."""
    bench = await start(CODE)
    page = await bench.send("GET", bench.authorize_url().removeprefix(bench.url))
    form = {"response_type": "code", "client_id": "app", "redirect_uri": CALLBACK, "state": "s", "decision": "allow"}
    sent = await bench.send("POST", "/authorize", data=urlencode(form), headers=FORM)
    denied = await bench.send("POST", "/authorize", data=urlencode(form | {"decision": "deny"}), headers=FORM)

    assert 200 == page.status
    assert b"The Plain Broker" in page.body
    assert (302, True) == (sent.status, sent.headers["Location"].startswith(f"{CALLBACK}?code="))
    assert f"{CALLBACK}?error=access_denied&state=s" == denied.headers["Location"]


@pytest.mark.parametrize("change", ["response_type", "client_id", "redirect_uri"])
async def test_a_bad_authorization_request_is_refused(start: Start, change: str) -> None:
    """A wrong or missing parameter is a 400 on the page and a ValueError to `approve`."""
    bench = await start(CODE)
    for value in ("wrong", ""):
        url = bench.authorize_url(**{change: value})

        assert 400 == (await bench.send("GET", url.removeprefix(bench.url))).status
        with pytest.raises(ValueError, match=change):
            bench.broker.approve(url)


async def test_another_address_is_no_authorize_address(start: Start) -> None:
    """A broker without a login page has none at all."""
    bench = await start(CODE)
    with pytest.raises(ValueError, match="not an authorize address"):
        bench.broker.approve(bench.url + "/token")

    minted = await start(MINTED)
    with pytest.raises(ValueError, match="no login page"):
        minted.broker.approve(minted.authorize_url())


async def test_a_code_is_good_once_and_for_its_life(start: Start, clock: HandClock) -> None:
    """A used, late, unknown or misdirected code is what the file calls a dead token."""
    bench = await start(CODE)
    code = bench.approved()["code"]
    assert 200 == (await bench.exchange(code)).status
    assert (400, "invalid_grant") == _error(await bench.exchange(code))

    late = bench.approved()["code"]
    clock.time += 30
    assert (400, "invalid_grant") == _error(await bench.exchange(late))
    other = bench.approved()["code"]
    assert (400, "invalid_grant") == _error(await bench.exchange(other, redirect_uri="https://127.0.0.1/other"))
    unnamed = bench.approved()["code"]
    assert (400, "invalid_grant") == _error(await bench.exchange(unnamed, redirect_uri=""))


async def test_pkce_is_wanted_where_the_file_says_so(start: Start) -> None:
    """A request without a challenge is refused, a code without its verifier is dead."""
    bench = await start(CODE.replace("  redirect: ", "  pkce: true\n  redirect: "))
    with pytest.raises(ValueError, match="code_challenge is missing"):
        bench.approved()
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}

    assert 400 == (await bench.exchange(bench.approved(**asked)["code"])).status
    assert 200 == (await bench.exchange(bench.approved(**asked)["code"], code_verifier=VERIFIER)).status


async def test_only_declared_scopes_may_be_asked_for(start: Start) -> None:
    """Without `scopes` in the file nothing is looked at."""
    bench = await start(CODE.replace("  redirect: ", "  scopes: [read, trade]\n  redirect: "))
    assert bench.approved(scope="read trade")["code"]

    with pytest.raises(ValueError, match="scope"):
        bench.approved(scope="read admin")


async def test_a_rotating_refresh_token_works_once(start: Start) -> None:
    """Each refresh brings a new one; the spent one is counted when it comes again."""
    bench = await start(CODE)
    first = await bench.log_in()
    second = await bench.renewed()
    bench.refresh = first["refresh_token"]

    assert first["refresh_token"] != second["refresh_token"]
    assert (400, "invalid_grant") == _error(await bench.renew())
    state = bench.broker.state()
    counted = ("token_posts", "rotations", "generation", "reused_refresh_tokens")
    assert (3, 1, 2, 1) == tuple(state[key] for key in counted)


async def test_seven_days_count_from_the_login(start: Start, clock: HandClock) -> None:
    """However often it is rotated: a second before its end a refresh token works, at its end it is dead."""
    bench = await start(CODE)
    await bench.log_in()
    for _ in range(6):
        clock.time += 86_400
        await bench.renewed()
    clock.time += 86_399
    await bench.renewed()
    clock.time += 1

    assert (400, "invalid_grant") == _error(await bench.renew())


async def test_a_life_may_count_from_the_issue(start: Start, clock: HandClock) -> None:
    """Then every rotation begins it again."""
    bench = await start(CODE.replace("life_counts_from: login", "life_counts_from: issue"))
    await bench.log_in()
    for _ in range(3):
        clock.time += 604_799
        await bench.renewed()
    clock.time += 604_800

    assert (400, "invalid_grant") == _error(await bench.renew())


async def test_a_refresh_token_may_be_kept_or_missing(start: Start) -> None:
    """`kept` answers with the same one again, `none` with none."""
    kept = await start(CODE.replace("refresh: rotating", "refresh: kept"))
    first = await kept.log_in()
    assert first["refresh_token"] == (await kept.renewed())["refresh_token"]

    none = await start(CODE.replace("refresh: rotating", "refresh: none"))
    assert "refresh_token" not in await none.log_in()
    assert (400, "unsupported_grant_type") == _error(await none.token(grant_type="refresh_token", refresh_token="x"))


async def test_a_pasted_refresh_token_starts_without_a_page(start: Start) -> None:
    """The links hold one that nobody has redeemed; an endless access token has no `expires_in`."""
    bench = await start(PASTED)
    bench.refresh = bench.broker.links().refresh_token or ""
    assert {"main": {"refresh_token": bench.refresh}} == bench.broker.links().logins
    bench.client = None
    reply = await bench.renew()

    assert bench.refresh == reply.document["refresh_token"]
    assert "expires_in" not in reply.document
    assert bench.refresh != bench.broker.new_refresh_token()


async def test_an_application_mints_tokens_for_itself(start: Start) -> None:
    """Client credentials bring an access token and nothing to refresh it with."""
    bench = await start(MINTED)
    form = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "canary"}
    assert 401 == (await bench.token(**form)).status
    bench.client = None
    reply = await bench.token(**form)

    assert {"access_token", "token_type", "expires_in"} == set(reply.document)
    assert 401 == (await bench.token(**form | {"client_secret": "wrong"})).status
    assert (400, "unsupported_grant_type") == _error(await bench.token(**form | {"grant_type": "password"}))


async def test_an_application_proves_itself_in_one_place_only(start: Start) -> None:
    """With Basic, a secret in the form is refused, and so are a wrong one and none."""
    bench = await start(CODE)
    code = bench.approved()["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}

    assert (401, "invalid_client") == _error(await bench.token(**form, client_secret="app:secret"))
    bench.client = None
    assert 401 == (await bench.token(**form)).status
    bench.client = ("app", "wrong")
    assert 401 == (await bench.token(**form)).status
    bench.client = ("app", "app%3Asecret")
    assert 200 == (await bench.token(**form)).status


async def test_a_public_application_sends_no_secret(start: Start) -> None:
    """With `client_auth: none` a secret or a header is one too many."""
    text = CODE.replace("client_auth: basic", "client_auth: none").replace("  client_secret: app:secret\n", "")
    bench = await start(text)
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "client_id": "app"}

    assert 401 == (await bench.token(**form, code=bench.approved()["code"])).status
    bench.client = None
    assert 200 == (await bench.token(**form, code=bench.approved()["code"])).status
    assert 401 == (await bench.token(**form | {"client_id": "x"}, code=bench.approved()["code"])).status


async def test_other_methods_are_refused(start: Start) -> None:
    """The token endpoint takes POST, the page GET and POST."""
    bench = await start(CODE)

    assert 405 == (await bench.send("GET", "/token")).status
    assert 405 == (await bench.send("PUT", "/authorize")).status
