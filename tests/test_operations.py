"""What an operator sees and does, the way the command line gets at it: through the admin socket."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import CommandFailed, call
from proxy.tokens.standing import Standing
from tests.consent import consenting
from tests.house import House, house


async def ask(home: House, command: str, **params: Any) -> dict[str, Any]:
    return await call(home.file.parent / "admin.sock", command, params, timeout=10)


async def refused(home: House, command: str, **params: Any) -> tuple[str, str]:
    """Kind and message of what the server says no to."""
    with pytest.raises(CommandFailed) as failed:
        await ask(home, command, **params)
    return failed.value.kind, failed.value.message


async def test_a_login_serves_at_once(state_dir: Path) -> None:
    """And a call before it names the command."""
    async with house(state_dir, login=False) as home:
        reply = await home.call("GET", "/questrade/v1/accounts")
        assert ((503, "login-needed"), "bearerd login questrade") == (reply.problem, reply.document["fix"])
        assert None is reply.one("Retry-After")

        shown = await ask(home, "login", mount="questrade", token=home.simulator.links().refresh_token)
        assert ("fresh", 1, True) == (shown["state"], shown["generation"], shown["usable"])
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_a_login_that_fails_says_why_and_leaves_the_old_one(state_dir: Path) -> None:
    """A spent token, a mount that is not there; the token is not repeated."""
    async with house(state_dir) as home:
        kind, message = await refused(home, "login", mount="questrade", token="canary-spent-token")
        assert "login-failed" == kind
        assert "works once" in message
        assert "canary" not in message

        assert ("not-possible", "there is no mount or grant 'none'; known: questrade") == await refused(
            home, "login", mount="none", token="x"
        )
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_revoking_tells_the_broker_and_forgets(state_dir: Path) -> None:
    """From then on a person must log in; the broker takes neither token any more."""
    async with house(state_dir) as home:
        assert {"grant": "questrade", "broker_told": True, "message": "the broker was told"} == await ask(
            home, "revoke", mount="questrade"
        )
        assert (503, "login-needed") == (await home.call("GET", "/questrade/v1/accounts")).problem
        (mount,) = (await ask(home, "status"))["mounts"]
        assert ("none", "revoked", False) == (mount["state"], mount["reason"], mount["usable"])

        token = home.simulator.new_refresh_token()
        await ask(home, "login", mount="questrade", token=token)
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_revoking_forgets_even_if_the_broker_is_away(state_dir: Path) -> None:
    """The answer says that the broker does not know."""
    async with house(state_dir) as home:
        await home.simulator.stop()
        told = await ask(home, "revoke", mount="questrade")
        assert not told["broker_told"]
        assert "could not be told" in told["message"]
        assert (503, "login-needed") == (await home.call("GET", "/questrade/v1/accounts")).problem


async def test_a_clients_keys_are_made_listed_and_removed(state_dir: Path) -> None:
    """A key counts from the moment it is shown to the moment it is removed."""
    async with house(state_dir) as home:
        made = await ask(home, "clients-add", name="bot")
        assert ("bot", None) == (made["client"], made["warning"])
        assert 200 == (await home.call("GET", "/questrade/v1/accounts", key=made["key"])).status
        assert [("bot", 2)] == [
            (client["name"], client["keys"]) for client in (await ask(home, "clients-list"))["clients"]
        ]

        assert {"client": "bot", "removed": 2} == await ask(home, "clients-remove", name="bot")
        assert 401 == (await home.call("GET", "/questrade/v1/accounts", key=made["key"])).status
        assert made["key"] not in str(await ask(home, "clients-list"))


async def test_a_key_without_rights_says_what_is_missing(state_dir: Path) -> None:
    """It is made all the same: the line in the configuration may come after it."""
    async with house(state_dir) as home:
        made = await ask(home, "clients-add", name="notebook")
        assert "bearerd reload" in made["warning"]
        assert (401, "unknown-client") == (await home.call("GET", "/questrade/v1/accounts", key=made["key"])).problem
        listed = {client["name"]: client for client in (await ask(home, "clients-list"))["clients"]}
        assert (1, None, False) == tuple(listed["notebook"][field] for field in ("keys", "rights", "in_config"))

        await home.rewrite(("  bot:", "  notebook: {questrade: [read_acc]}\n  bot:"))
        assert {"changed": ["clients"], "changes": ["clients: + notebook"]} == await ask(home, "reload")
        assert 200 == (await home.call("GET", "/questrade/v1/accounts", key=made["key"])).status


@pytest.mark.parametrize("name", ["", "a/b", "bot/1", "Ünïcode", "bot\n", "x" * 64, "-x", "UPPER"])
async def test_a_client_needs_a_name_that_the_configuration_could_hold(state_dir: Path, name: str) -> None:
    """Else a slash would make one client's keys look like another's."""
    async with house(state_dir, login=False) as home:
        kind, message = await refused(home, "clients-add", name=name)
        assert "not-possible" == kind
        assert "name" in message
        assert 1 == len(home.app.keys.all())


async def test_a_reload_that_is_refused_says_why(state_dir: Path) -> None:
    """A mistake with its line and column; what cannot change, by name."""
    async with house(state_dir, login=False) as home:
        await home.rewrite(("listen: 127.0.0.1:0", "listen: 127.0.0.1:1"))
        kind, message = await refused(home, "reload")
        assert ("not-possible", True) == (kind, "listen can't change" in message)
        await home.rewrite(("listen:", "lissen:"))
        kind, message = await refused(home, "reload")
        assert ("config", True) == (kind, "config.yaml:3:1" in message)


async def test_an_open_server_says_so(state_dir: Path) -> None:
    """`clients: none` is shown where an operator looks, and any program may call."""
    rights = ("clients:\n  bot: {questrade: [read_acc, read_md, trade]}", "clients: none")
    async with house(state_dir, rights) as home:
        status = await ask(home, "status")
        assert status["open_to_all"]
        assert any("any program" in line for line in status["warnings"])
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_metrics_show_ages_and_counts(state_dir: Path) -> None:
    """Brought up to date when they are read; a revoked grant has no age."""
    async with house(state_dir) as home:
        await home.call("GET", "/questrade/v1/accounts")
        text = home.app.operations.metrics().decode()
        assert 'bearerd_generation{grant="questrade"} 1.0' in text
        assert 'bearerd_token_refresh_total{grant="questrade",outcome="renewed"} 1.0' in text
        assert 'bearerd_upstream_seconds_count{mount="questrade"} 1.0' in text
        assert "bearerd_journal_slots_in_use 0.0" in text
        assert 'template="/v1/accounts"' in text

        await ask(home, "revoke", mount="questrade")
        assert "bearerd_generation{" not in home.app.operations.metrics().decode()


async def test_a_login_over_the_broker_s_page_goes_through_the_socket(state_dir: Path) -> None:
    """Begun, waited for, completed; a code that came twice is refused by name."""
    async with consenting(state_dir) as home:
        begun = await ask(home, "login-begin", mount="questrade")
        assert {"done": False} == await ask(home, "login-wait", mount="questrade", id=begun["id"], seconds=0)
        answer = home.simulator.approve(begun["authorize_url"])

        assert "fresh" == (await ask(home, "login-complete", mount="questrade", answer=answer))["state"]
        assert (await ask(home, "login-wait", mount="questrade", id=begun["id"], seconds=10))["done"]
        assert ("login-failed", "this answer was used already") == await refused(
            home, "login-complete", mount="questrade", answer=answer
        )
        kind, message = await refused(home, "login", mount="questrade")
        assert ("not-possible", "a login of questrade needs the broker's page") == (kind, message)


async def test_a_login_says_what_it_asks_for(state_dir: Path) -> None:
    """So that a program can put the question."""
    async with house(state_dir, login=False) as home:
        begun = await ask(home, "login-begin", mount="questrade")

        assert ("refresh-token", ["refresh token"]) == (begun["kind"], begun["asks"])
        assert {"grant", "kind", "title", "asks", "login_page"} == begun.keys()


def _show(home: House, standing: Standing) -> None:
    home.app.keepers._configured["questrade"] = Shown(standing)  # type: ignore[assignment]


async def test_a_warning_stands_in_the_line_of_its_grant(state_dir: Path) -> None:
    """While the grant serves, it is as ready as any; a token that was refused is not."""
    async with house(state_dir) as home:
        standing = home.app.keepers["questrade"].standing()
        _show(home, replace(standing, warning="the login ends in 2 h"))
        assert {"ready": "ok", "lines": ["[+]store ok", "[+]grant questrade fresh: the login ends in 2 h"]} == (
            await ask(home, "ready")
        )
        doubted = replace(standing, doubted=True, reason="the broker refused the token")
        _show(home, doubted)
        assert {
            "ready": "degraded",
            "lines": ["[+]store ok", "[-]grant questrade fresh: the broker refused the token"],
        } == await ask(home, "ready")


@dataclass(frozen=True)
class Shown:
    """A keeper of which no more is wanted than how it stands."""

    stands: Standing

    def standing(self) -> Standing:
        return self.stands

    async def close(self) -> None:
        """There is nothing to end."""
