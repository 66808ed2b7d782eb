import pytest

from proxy.config import Mark, parse_yaml
from proxy.config.merge import Merged, merge

FILE = "log: {level: info}\nmounts:\n  questrade: {scopes: [read_acc]}\n"


def _merged(text: str = FILE, overrides: dict[str, str] | None = None, **environ: str) -> Merged:
    found, problems = merge(parse_yaml(text, "config.yaml"), environ, overrides or {})
    assert [] == problems
    return found


def test_flags_win_over_environment_over_file() -> None:
    """The last layer that says something is heard, and known as the origin."""
    path = ("log", "level")
    in_file = _merged()
    assert ("info", "config.yaml:1") == (in_file.data["log"]["level"], in_file.origin(path))
    in_env = _merged(BEARERD_LOG__LEVEL="debug")
    assert ("debug", "BEARERD_LOG__LEVEL") == (in_env.data["log"]["level"], in_env.origin(path))
    by_flag = _merged(overrides={"log.level": "error"}, BEARERD_LOG__LEVEL="debug")
    assert ("error", "command line") == (by_flag.data["log"]["level"], by_flag.origin(path))
    assert "default" == in_file.origin(("log", "format"))


def test_what_no_file_holds_has_no_mark() -> None:
    """A value from the environment hides the file's place."""
    assert Mark(1, 14) == _merged().mark(("log", "level"))
    assert None is _merged(BEARERD_LOG__LEVEL="debug").mark(("log", "level"))


def test_text_becomes_what_the_key_needs() -> None:
    """Numbers, lists at commas, new names with `-`; text stays text."""
    found = _merged(
        BEARERD_LIMITS__BODY_BYTES="12",
        BEARERD_MOUNTS__QUESTRADE__SCOPES="read_acc, trade",
        BEARERD_MOUNTS__MY_OTHER__BROKER="12",
        BEARERD_LISTEN="127.0.0.1:1,[::1]:1",
        BEARERD_CONSOLE="off",
    ).data
    assert 12 == found["limits"]["body_bytes"]
    assert ["read_acc", "trade"] == found["mounts"]["questrade"]["scopes"]
    assert "12" == found["mounts"]["my-other"]["broker"]
    assert (["127.0.0.1:1", "[::1]:1"], ["off"]) == (found["listen"], found["console"])


def test_the_document_is_left_alone() -> None:
    """Merging copies: the file's own data stays what was written."""
    document = parse_yaml(FILE, "config.yaml")
    merge(document, {"BEARERD_LOG__LEVEL": "debug"}, {})
    assert "info" == document.data["log"]["level"]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("BEARERD_LOG__LEVLE", "did you mean 'BEARERD_LOG__LEVEL'?"),
        ("BEARERD_MOUNTS__QUESTRADE__PROT", "did you mean 'BEARERD_MOUNTS__QUESTRADE__PORT'?"),
        ("BEARERD_PASSPHRAS", "did you mean 'BEARERD_PASSPHRASE'?"),
        ("BEARERD_ZZZZZZZZZZZZZZZZZZZZZ", "unset it; `bearerd help environment` lists all"),
    ],
)
def test_an_unknown_variable_is_a_problem(name: str, fix: str) -> None:
    """A typo in a variable is a typo in a setting. Its value is not shown."""
    _, problems = merge(parse_yaml(FILE, "config.yaml"), {name: "canary"}, {})
    assert [f"{name}: error: no such setting, {fix}"] == [str(problem) for problem in problems]


def test_other_variables_are_no_settings() -> None:
    """The variables of clients and commands pass, empty ones do not count, and so does the name in `key: env:NAME`."""
    for name in ("BEARERD_KEY", "BEARERD_URL", "BEARERD_CONFIG", "BEARERD_LOGIN_TOKEN_FILE"):
        merged, problems = merge(parse_yaml(FILE, "config.yaml"), {name: "x"}, {})
        assert ({}, []) == (merged.origins, problems)
    assert {} == _merged(BEARERD_LOG__LEVEL="", PATH="/bin").origins
    assert {} == _merged("key: env:BEARERD_MASTER_KEY\n", BEARERD_MASTER_KEY="x").origins
    assert [("key",)] == list(_merged(BEARERD_KEY_SOURCE="env:BEARERD_M", BEARERD_M_FILE="x").origins)


def test_an_unknown_flag_is_our_own_mistake() -> None:
    """Flags are named by the command line's code, so that a wrong one is no user's problem."""
    with pytest.raises(LookupError, match=r"log\.levle"):
        merge(parse_yaml(FILE, "config.yaml"), {}, {"log.levle": "x"})


def test_a_broken_section_is_left_as_it_is() -> None:
    """The file's mistake is reported as such, not papered over."""
    assert {"log": 3} == _merged("log: 3\n", BEARERD_LOG__LEVEL="debug").data


@pytest.mark.parametrize(
    ("text", "environ"),
    [("clients: none", {}), ("clients: {bot: {questrade: [read_acc]}}", {"BEARERD_CLIENTS": "none"})],
)
def test_rights_beside_no_clients_are_a_problem(text: str, environ: dict[str, str]) -> None:
    """Whoever narrows a client by a variable must not be left with an open door."""
    variable = "BEARERD_CLIENTS__BOT__QUESTRADE"
    _, problems = merge(parse_yaml(text, "config.yaml"), environ | {variable: "read_acc"}, {})
    expected = "clients.bot.questrade: has no effect, since `clients` is one word, remove one of the two"
    assert [f"{variable}: error: {expected}"] == list(map(str, problems))


def test_a_secret_of_the_environment_replaces_either_form() -> None:
    """The file's `…_file` goes when the variable holds the secret itself, and the other way round."""
    text = "grants: {x: {client_secret_file: a}}\n"
    assert {"client_secret": "b"} == _merged(text, BEARERD_GRANTS__X__CLIENT_SECRET="b").data["grants"]["x"]
    text = "grants: {x: {client_secret: a}}\n"
    assert {"client_secret_file": "b"} == _merged(text, BEARERD_GRANTS__X__CLIENT_SECRET_FILE="b").data["grants"]["x"]


def test_a_problem_names_the_layer_and_hides_secrets() -> None:
    """From the environment: the variable. From the file: its place, and no line if a secret may be on it."""
    found = _merged(BEARERD_LOG__LEVEL="debug")
    assert "BEARERD_LOG__LEVEL: error: log.level: m" == str(found.problem(("log", "level"), "m"))
    assert not found.problem(("mounts", "questrade", "scopes", 0), "m").hidden
    assert found.problem(("grants", "client_secret"), "m").hidden
    assert found.problem(("grants", "clsec"), "m", "did you mean 'client_secret'?").hidden
