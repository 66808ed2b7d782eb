"""The global options, and where the configuration is looked for."""

from pathlib import Path

import pytest

from proxy.cli.invocation import Invocation, interactive
from tests.cli.support import Person, invoke

TOKEN = "aSBe7wAAdx88QTbwut0tiu3SYic3ox8F0"


@pytest.mark.parametrize("order", [("{options}", "config", "check"), ("config", "check", "{options}")])
def test_global_options_work_before_and_after_the_command(order: tuple[str, ...], person: Person) -> None:
    """`bearerd --json config check` and `bearerd config check --json` are the same."""
    options = ["--json", "-c", str(person.write_config())]
    arguments = [part for word in order for part in (options if word == "{options}" else [word])]

    assert '"ok": true' in invoke(*arguments).stdout


def test_the_configuration_may_be_named_by_the_environment(person: Person) -> None:
    """BEARERD_CONFIG stands for --config."""
    assert 0 == invoke("config", "check", BEARERD_CONFIG=str(person.write_config())).exit_code


def test_quiet_hides_messages_but_not_errors(person: Person) -> None:
    """With -q a success says nothing at all; a mistake is still told."""
    path = str(person.write_config())

    assert "" == invoke("-q", "config", "check", "-c", path).output
    assert "error" in invoke("-q", "config", "check", "-c", str(person.home / "none.yaml")).stderr


def test_a_mistake_elsewhere_does_not_hide_where_the_server_is(person: Person) -> None:
    """What is needed to find a running server can be read from a file that has problems."""
    path = person.write_config(**{"environment: live": "enviroment: live"})

    assert person.home / "state" == Invocation(path, environ={"HOME": "/nowhere"}).server_config().state_dir


def test_nobody_is_asked_without_a_terminal() -> None:
    """Under a test, a pipe or cron there is no person."""
    assert not interactive()


def test_the_environment_is_not_shown() -> None:
    """A repr of an invocation holds none of the variables, which may be secrets."""
    assert "hush" not in repr(Invocation(Path("a.yaml"), environ={"BEARERD_LOGIN_TOKEN": "hush"}))


@pytest.mark.parametrize(
    "arguments",
    [
        ["login", TOKEN], ["login", "questrade", TOKEN], ["login", "questrade", "--token", TOKEN],
        ["login", "questrade", f"--token={TOKEN}"], ["login", "questrade", f"--token-stdin={TOKEN}"],
        ["revoke", TOKEN, "--yes"], ["env", TOKEN], ["env", "questrade", f"--key={TOKEN}"],
        ["env", "questrade", "--format", TOKEN], ["clients", TOKEN], ["clients", "add", TOKEN], [TOKEN],
        ["help", TOKEN], ["scopes", "list", TOKEN], ["scopes", "check", "GET", "/x", "--client", TOKEN],
        ["serve", "--log-level", TOKEN],
    ],
)  # fmt: skip
def test_a_token_in_the_wrong_place_is_not_repeated(arguments: list[str], person: Person) -> None:
    """Wherever somebody types one, the message does without it."""
    result = invoke(*arguments, BEARERD_CONFIG=str(person.write_config()))

    assert result.exit_code in (1, 2)
    assert TOKEN not in result.output


def test_a_misspelt_name_is_repeated(person: Person) -> None:
    """What looks like a name helps to find the mistake."""
    result = invoke("login", "questrade-of-my-spouse-2", BEARERD_CONFIG=str(person.write_config()))

    assert "'questrade-of-my-spouse-2'" in result.output
