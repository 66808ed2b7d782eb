"""`bearerd oauth`: what it asks of the server, what it shows, and where a token goes."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import proxy.cli.offline  # noqa: F401  the product imports it late, and the event loop is watched here
from proxy.admin import AdminSocket, CommandFailed
from proxy.cli import cli
from proxy.cli.invocation import Invocation
from proxy.cli.oauth import oauth
from proxy.custody import socket_path
from proxy.settings import Settings
from tests.cli.support import Person
from tests.cli.terminal import Terminal

APP = "7a3c52a910e1dc2abbb14da2b6b8e711"
ACCOUNT = "8e00606a-c9ac-409a-ba45-f55e8f77984a"
TOKEN = "87586f14-c3f4-4912-b107-f75bc17ff87a"
ISSUE = ("--client-id", APP, "--account", ACCOUNT)


class Server:
    """A server that knows one command. `asked` are its params; `answers` is what it says, or raises."""

    def __init__(self, settings: Settings) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | CommandFailed = {"status": 200, "answer": {}}
        self._socket = AdminSocket(socket_path(settings.config), {"ready": self._ready, "oauth": self._oauth})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._wait(self._socket.start())

    async def _ready(self, _params: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def _oauth(self, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(params)
        if isinstance(self.answer, CommandFailed):
            raise self.answer
        return self.answer

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._wait(self._socket.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(name="server")
def _server(settings: Settings) -> Iterator[Server]:
    settings.config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = Server(settings)
    yield found
    found.close()


@pytest.fixture(name="do")
def _do(invocation: Invocation) -> Any:
    """`do("client", "questrade", …)` is `bearerd oauth client questrade …`."""

    def do(*arguments: str, stdin: str = "", json: bool = False) -> Result:
        words = ["-c", str(invocation.config), *(["--json"] if json else []), "oauth", *arguments]
        return CliRunner().invoke(cli, words, input=stdin, env={"HOME": str(invocation.environ["HOME"])})

    return do


def test_an_application_is_shown_a_line_a_member(server: Server, do: Any) -> None:
    """Lists in one line, and nothing that a terminal would act on."""
    server.answer = {
        "status": 200,
        "answer": {"client_id": APP, "name": "a\x1b[2Jb", "redirect_uri": ["http://a", "http://b"], "live": False},
    }
    done = do("client", "questrade", APP, "--response-type", "code", "--scope", "general")

    assert (0, "") == (done.exit_code, done.stderr)
    assert [
        f"client_id     {APP}", "name          a?[2Jb", "redirect_uri  http://a, http://b", "live          false",
    ] == done.stdout.splitlines()  # fmt: skip
    assert [
        {"call": "client", "mount": "questrade", "client_id": APP, "response_type": "code", "scope": "general"}
    ] == server.asked
    document = json.loads(do("client", "questrade", APP, json=True).stdout)
    assert APP == document["client"]["client_id"]


@pytest.mark.parametrize(("call", "member"), [("token", "access_token"), ("authorize", "code")])
def test_what_is_issued_stands_alone_on_stdout(server: Server, do: Any, call: str, member: str) -> None:
    """So that it can be piped on; what a person wants to know is on stderr."""
    server.answer = {"status": 200, "answer": {member: TOKEN, "scope": "general"}}
    done = do(call, "questrade", *ISSUE)

    assert (0, TOKEN + "\n") == (done.exit_code, done.stdout)
    assert "scope general; it is shown only now" in done.stderr
    assert [{"call": call, "mount": "questrade", "client_id": APP, "account": ACCOUNT}] == server.asked
    assert TOKEN == json.loads(do(call, "questrade", *ISSUE, json=True).stdout)[call][member]


def test_a_token_can_go_into_a_file(server: Server, do: Any, person: Person) -> None:
    """For its owner alone, in the place of an older one, and then it is not printed."""
    server.answer = {"status": 200, "answer": {"access_token": TOKEN, "token_type": "Bearer"}}
    file = person.home / "token.json"
    file.write_text("old")
    done = do("token", "questrade", *ISSUE, "--output", str(file))

    assert (0, "") == (done.exit_code, done.stdout)
    assert TOKEN not in done.stderr
    assert {"access_token": TOKEN, "token_type": "Bearer"} == json.loads(file.read_text())
    assert 0o600 == file.stat().st_mode & 0o777


def test_nothing_is_issued_that_could_not_be_kept(server: Server, do: Any, person: Person) -> None:
    """A directory that is not there, or is none, is found before the broker is asked."""
    (person.home / "file").touch()
    for place in ("nowhere", "file"):
        done = do("token", "questrade", *ISSUE, "--output", str(person.home / place / "token.json"))

        assert 1 == done.exit_code
        assert "nothing was asked for" in done.stderr
    assert [] == server.asked


def test_an_account_is_a_uuid(server: Server, do: Any) -> None:
    """Anything else is a usage error, and is not repeated."""
    done = do("token", "questrade", "--client-id", APP, "--account", "canary")

    assert 2 == done.exit_code
    assert "canary" not in done.stderr
    assert [] == server.asked


def test_a_token_is_revoked_by_an_id_that_no_command_line_shows(server: Server, do: Any) -> None:
    """It may be the token itself: stdin or a hidden prompt, and no argument or option takes it."""
    server.answer = {"status": 204, "answer": None}
    done = do("revoke", "questrade", "--token-stdin", stdin=TOKEN + "\n")

    assert (0, "") == (done.exit_code, done.stdout)
    assert TOKEN not in done.stderr
    assert [{"call": "revoke", "mount": "questrade", "token_id": TOKEN}] == server.asked
    revoke = oauth.commands["revoke"]
    assert ["mount"] == [param.name for param in revoke.params if isinstance(param, click.Argument)]
    taking = {param.name for param in revoke.params if isinstance(param, click.Option) and not param.is_flag}
    assert {"config", "color"} == taking

    extra = do("revoke", "questrade", TOKEN, "--token-stdin")
    assert 2 == extra.exit_code
    assert TOKEN not in extra.stderr


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "naïve", "x" * 5000])
def test_what_is_no_token_id_is_not_sent(server: Server, do: Any, text: str) -> None:
    """Nor shown."""
    done = do("revoke", "questrade", "--token-stdin", stdin=text)

    assert 1 == done.exit_code
    assert not text.strip() or text not in done.stderr
    assert [] == server.asked


def test_without_a_person_the_id_must_be_piped_in(server: Server, do: Any) -> None:
    """Nobody is asked where nobody sits."""
    done = do("revoke", "questrade")

    assert 2 == done.exit_code
    assert "--token-stdin" in done.stderr
    assert [] == server.asked


def test_a_script_learns_that_a_token_is_revoked(server: Server, do: Any) -> None:
    """One line of JSON."""
    done = do("revoke", "questrade", "--token-stdin", stdin=TOKEN, json=True)
    assert (0, {"schema": 1, "revoked": True}) == (done.exit_code, json.loads(done.stdout))


async def test_a_person_is_asked_for_the_id_without_an_echo(server: Server, invocation: Invocation) -> None:
    """At a terminal, and not with --no-input."""
    words = ("-c", str(invocation.config), "oauth", "revoke", "questrade")
    home = Path(invocation.environ["HOME"])
    with contextlib.closing(Terminal(home, *words)) as terminal:
        await terminal.until("Id of the token (not shown)")
        terminal.type(TOKEN)
        assert 0 == await terminal.code()
    assert TOKEN not in terminal.shown
    assert "revoked" in terminal.shown
    assert TOKEN == server.asked[0]["token_id"]

    with contextlib.closing(Terminal(home, *words, "--no-input")) as terminal:
        assert 2 == await terminal.code()
    assert 1 == len(server.asked)


def test_a_refusal_of_the_broker_comes_with_what_to_do(server: Server, do: Any) -> None:
    """Message, remedy, exit code 1."""
    server.answer = CommandFailed("not-possible", "its client_secret is wrong (401).", "correct it")
    done = do("token", "questrade", *ISSUE)

    assert (1, "") == (done.exit_code, done.stdout)
    assert "error: its client_secret is wrong (401).\nTo fix: correct it\n" == done.stderr


def test_an_unknown_mount_is_named(server: Server, do: Any) -> None:
    """With those that there are."""
    done = do("client", "alpaca", APP)

    assert 1 == done.exit_code
    assert "no mount or grant 'alpaca'" in done.stderr
    assert [] == server.asked


def test_without_a_server_the_same_is_done_here(person: Person, do: Any, settings: Settings) -> None:
    """With the store itself: here a broker that has no such calls."""
    assert settings.config.mounts
    done = do("client", "questrade", APP)

    assert 1 == done.exit_code
    assert "documents no such call" in done.stderr


def test_the_file_of_a_token_may_be_named_from_here(
    server: Server, do: Any, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare name is one in the current directory."""
    monkeypatch.chdir(person.home)
    server.answer = {"status": 200, "answer": {"access_token": TOKEN}}
    assert 0 == do("token", "questrade", *ISSUE, "--output", "token.json").exit_code
    assert TOKEN == json.loads(Path("token.json").read_text())["access_token"]
