"""Logging in and revoking, in a running server with a simulated broker: every kind of login that it has."""

import asyncio
from pathlib import Path

import pytest

from proxy.admin import NotPossible
from proxy.authorizations import NotCompleted, missing, shown
from proxy.tokens.errands import LoginFailed
from tests.consent import CHANGES, consenting, parameters, with_parameters
from tests.everybroker import in_front_of
from tests.house import house


async def test_a_login_over_the_broker_s_page(state_dir: Path) -> None:
    """Begun, allowed, completed; from then on calls pass."""
    async with consenting(state_dir) as home:
        begun = await home.begin()
        asked = parameters(begun["authorize_url"])
        assert ("questrade", "code", True, 600) == tuple(
            begun[name] for name in ("grant", "kind", "callback", "expires_in")
        )
        assert (home.callback, "read_acc,read_md,trade") == (asked["redirect_uri"], asked["scope"])

        standing = await home.app.operations.login_complete("questrade", home.simulator.approve(begun["authorize_url"]))
        assert ("fresh", 1, "code", []) == tuple(standing[name] for name in ("state", "generation", "login", "missing"))
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        assert 0 == (await home.pair("spouse"))[0]


async def test_whoever_waits_hears_of_the_end(state_dir: Path) -> None:
    """All that wait, and one that asks afterwards."""
    async with consenting(state_dir) as home:
        begun = await home.begin()
        operations = home.app.operations
        assert {"done": False} == await operations.login_wait("questrade", begun["id"], 0)
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(operations.login_wait("questrade", begun["id"], 30)) for _ in range(2)]
            await asyncio.sleep(0)
            await operations.login_complete(None, home.simulator.approve(begun["authorize_url"]))

        late = await operations.login_wait("questrade", begun["id"], 0)
        assert [(True, 1)] * 3 == [
            (each["done"], each["generation"]) for each in (late, *(w.result() for w in waiting))
        ]


async def test_whoever_waits_hears_of_a_failure(state_dir: Path) -> None:
    """With its reason; and so does one whose login another has replaced."""
    async with consenting(state_dir) as home:
        operations = home.app.operations
        older, newer = await home.begin(), await home.begin()
        with pytest.raises(LoginFailed, match="another login has been begun"):
            await operations.login_wait("questrade", older["id"], 0)
        answer = with_parameters(home.simulator.approve(newer["authorize_url"]), code=None, error="access_denied")
        with pytest.raises(NotCompleted, match="declined"):
            await operations.login_complete(None, answer)
        with pytest.raises(LoginFailed, match="declined"):
            await operations.login_wait("questrade", newer["id"], 0)
        with pytest.raises(LoginFailed, match="no longer under way"):
            await operations.login_wait("questrade", "unknown", 0)


async def test_a_stop_does_not_wait_for_those_who_wait(state_dir: Path) -> None:
    """They hear that nothing has come yet, and find nobody when they ask again."""
    async with consenting(state_dir) as home:
        begun = await home.begin()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            waiting = group.create_task(home.app.operations.login_wait("questrade", begun["id"], 60))
            await asyncio.sleep(0.05)
            home.app.stopping = True

        assert {"done": False} == waiting.result()


async def test_a_login_that_was_begun_elsewhere_can_be_waited_for(state_dir: Path) -> None:
    """By a command without a server, say, before this server was started: it rests in the store."""
    async with consenting(state_dir) as home:
        begun = await home.begin()
        home.app.operations.authorizations._ends.clear()
        assert {"done": False} == await home.app.operations.login_wait("questrade", begun["id"], 0)
        await home.app.operations.login_complete(None, home.simulator.approve(begun["authorize_url"]))

        assert (await home.app.operations.login_wait("questrade", begun["id"], 0))["done"]


async def test_a_code_that_the_broker_refuses_changes_nothing(state_dir: Path) -> None:
    """It was posted, once; what was there before serves on."""
    async with consenting(state_dir, login=True) as home:
        before, posts = await home.pair(), home.seen("token_posts")
        answer = await home.consent()
        with pytest.raises(NotCompleted) as failed:
            await home.app.operations.login_complete("questrade", answer.replace("code=", "code=x"))

        assert "questrade" == failed.value.grant
        assert parameters(answer)["code"] not in str(failed.value)
        assert (before, posts + 1) == (await home.pair(), home.seen("token_posts"))
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_a_caller_that_leaves_does_not_stop_an_exchange(state_dir: Path) -> None:
    """The code is spent by then: the pair must not be lost."""
    async with consenting(state_dir) as home:
        answer = await home.consent()
        home.simulator.options.token_latency = 0.3
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(home.app.operations.login_complete(None, answer))
            await home.posted()
            leaving.cancel()
        assert 0 == (await home.pair())[0]
        await home.app.operations.close()

        assert 1 == (await home.pair())[0]
        assert set() == home.app.operations.authorizations._flights


async def test_a_login_needs_somewhere_to_come_back_to(state_dir: Path) -> None:
    """Without a console the configuration must name it."""
    off = ("console: 127.0.0.1:0", 'console: "off"')
    async with house(state_dir, *CHANGES, off, login=False) as home:
        with pytest.raises(NotPossible) as failed:
            await home.app.operations.login_begin("questrade")
        assert "grants.questrade.redirect_uri" in (failed.value.fix or "")


async def test_a_page_of_one_s_own_may_be_where_it_comes_back_to(state_dir: Path) -> None:
    """Then the address that the browser ended up at is for pasting."""
    own = ("login: code,", 'login: code, redirect_uri: "https://ada.example/back",')
    async with house(state_dir, *CHANGES, own, login=False) as home:
        home.simulator.options.callback = "https://ada.example/back"
        begun = await home.app.operations.login_begin("questrade")
        assert ("https://ada.example/back", False) == (begun["redirect_uri"], begun["callback"])
        answer = home.simulator.approve(begun["authorize_url"])
        assert "fresh" == (await home.app.operations.login_complete("questrade", answer))["state"]


async def test_which_redirects_the_console_answers(state_dir: Path) -> None:
    """Its own port and path, by the names that lead there."""
    own_name = ("clients:\n", 'allowed_hosts: ["desk.lan:*"]\nclients:\n')
    async with consenting(state_dir, own_name) as home:
        port = home.console_port
        answered = home.app.operations.authorizations.answered_here

        for host in ("127.0.0.1", "localhost", "desk.lan"):
            assert answered(f"http://{host}:{port}/callback")
        for other in (
            f"https://127.0.0.1:{port}/callback", f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port + 1}/callback",
            f"http://evil.example:{port}/callback", f"http://[::1]:{port}/callback", "nonsense",
        ):  # fmt: skip
            assert not answered(other)
        assert home.app.operations.authorizations.begins_here("questrade")


async def test_a_refresh_token_logs_in_too(state_dir: Path) -> None:
    """Where the configuration says so; without it there is nothing to do."""
    async with house(state_dir, login=False) as home:
        token = home.simulator.new_refresh_token()
        with pytest.raises(NotPossible, match="needs"):
            await home.app.operations.login("questrade", None)
        assert {"kind": "refresh-token", "grant": "questrade"}.items() <= (
            await home.app.operations.login_begin("questrade")
        ).items()
        assert "fresh" == (await home.app.operations.login("questrade", token))["state"]


async def test_a_refresh_token_can_be_brought_along_to_a_login_over_the_page(state_dir: Path) -> None:
    """It may have been had elsewhere; without one, the page is needed."""
    async with consenting(state_dir) as home:
        with pytest.raises(NotPossible, match="needs the broker's page"):
            await home.app.operations.login("spouse", None)
        assert "fresh" == (await home.app.operations.login("spouse", home.simulator.new_refresh_token()))["state"]


async def test_revoking_tells_the_broker_and_forgets(state_dir: Path) -> None:
    """The broker takes neither token any more."""
    async with consenting(state_dir, login=True) as home:
        assert {"grant": "questrade", "broker_told": True, "message": "the broker was told"} == (
            await home.app.operations.revoke("questrade")
        )
        assert (503, "login-needed") == (await home.call("GET", "/questrade/v1/accounts")).problem


async def test_revoking_during_a_login_tells_the_broker_of_what_that_brings(state_dir: Path) -> None:
    """The token that was held when the revocation came is not the last one."""
    async with consenting(state_dir, login=True) as home:
        answer = await home.consent()
        posts = home.seen("token_posts")
        home.simulator.options.token_latency = 0.3
        async with asyncio.TaskGroup() as group:
            group.create_task(home.app.operations.login_complete(None, answer))
            while posts == home.seen("token_posts"):  # noqa: ASYNC110  it happens in the simulator
                await asyncio.sleep(0.01)
            revoked = await home.app.operations.revoke("questrade")
        assert (True, None) == (revoked["broker_told"], (await home.pair())[1])

        pairs = home.seen("generation")
        home.simulator.steal()
        assert pairs == home.seen("generation"), "the broker knows a grant that lives"


async def test_revoking_ends_a_login_under_way(state_dir: Path) -> None:
    """Who has its answer already comes too late, and the broker is not asked."""
    async with consenting(state_dir, login=True) as home:
        answer, posts = await home.consent(), home.seen("token_posts")
        await home.app.operations.revoke("questrade")
        with pytest.raises(NotCompleted, match="used already"):
            await home.app.operations.login_complete(None, answer)
        assert (posts, None) == (home.seen("token_posts"), (await home.pair())[1])


async def test_revoking_without_a_token_says_so(state_dir: Path) -> None:
    """The broker has an endpoint for it; there is nothing to tell."""
    async with consenting(state_dir) as home:
        revoked = await home.app.operations.revoke("questrade")
        assert (False, "no token was held that the broker could be told of") == (
            revoked["broker_told"],
            revoked["message"],
        )


async def test_scopes_that_were_not_granted_are_named(state_dir: Path) -> None:
    """If the broker says which it granted; and nothing is, if it does not."""
    async with consenting(state_dir, login=True) as home:
        settings = home.app.settings.grants["questrade"]

        assert ["trade"] == missing(settings, ("read_md", "read_acc"))
        assert [] == missing(settings, ())
        assert [] == shown(home.app.keepers["questrade"].standing(), settings)["missing"]


# -- brokers with other logins


async def test_scopes_come_back_as_the_broker_granted_them(state_dir: Path) -> None:
    """Tradier is asked with commas, and answers with spaces."""
    async with in_front_of(state_dir, "tradier", "code", scopes=["read", "trade"]) as (app, simulator):
        begun = await app.operations.login_begin("here")
        asked = parameters(begun["authorize_url"])
        standing = await app.operations.login_complete("here", simulator.approve(begun["authorize_url"]))

        assert {"client_id", "scope", "state"} == asked.keys()
        assert ("read,trade", ["read", "trade"], []) == (asked["scope"], standing["granted"], standing["missing"])
        assert standing["access_expires"] is not None


async def test_a_login_without_an_end(state_dir: Path) -> None:
    """Alpaca Connect: `account:read` is no scope that is asked for, and so none that is missing."""
    scopes = ["account:read", "trading"]
    async with in_front_of(state_dir, "alpaca", "connect", api="trading", scopes=scopes) as (app, simulator):
        begun = await app.operations.login_begin("here")
        standing = await app.operations.login_complete("here", simulator.approve(begun["authorize_url"]))

        assert ("trading", "paper") == tuple(parameters(begun["authorize_url"])[name] for name in ("scope", "env"))
        assert (None, None, []) == tuple(standing[name] for name in ("ends", "access_expires", "missing"))
        revoked = await app.operations.revoke("here")
        assert (False, True) == (revoked["broker_told"], "remove the application's access" in revoked["message"])


async def test_client_credentials_need_nobody(state_dir: Path) -> None:
    """A login just asks for a token now; on the broker's side there is nothing to revoke but the secret."""
    async with in_front_of(state_dir, "alpaca", "client-credentials", api="data", scopes=["data"]) as (app, simulator):
        assert "client-credentials" == (await app.operations.login_begin("here"))["kind"]
        standing = await app.operations.login("here", None)

        assert ("fresh", True) == (standing["state"], standing["usable"])
        assert "until they are deleted" in (await app.operations.revoke("here"))["message"]
        assert simulator.state()["token_posts"] != 0


async def test_a_key_pair_is_kept_as_it_is(state_dir: Path) -> None:
    """Both parts or nothing; no token endpoint is asked."""
    async with in_front_of(state_dir, "alpaca", "keys", api="trading", scopes=["trading"]) as (app, simulator):
        with pytest.raises(NotPossible, match="needs API key ID, API secret key"):
            await app.operations.login("here", None)
        for half in ("id", "id:", ":secret"):
            with pytest.raises(NotPossible, match="needs 2 parts: API key ID, API secret key"):
                await app.operations.login("here", half)
        standing = await app.operations.login("here", simulator.links().logins["keys"]["secret"])

        assert ("fresh", None, 0) == (standing["state"], standing["ends"], simulator.state()["token_posts"])
        assert "delete it on the broker's page" in (await app.operations.revoke("here"))["message"]
