"""The configuration and the brokers that it names, held against each other."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config import ConfigInvalid
from proxy.settings import NoSuchGrant, Settings, read

GOOD = """
version: 1
mounts:
  questrade: {broker: questrade, environment: live, scopes: [read_acc]}
  lab: {broker: questrade, environment: lab, scopes: [read_md]}
clients: {bot: {questrade: [read_acc]}}
brokers:
  questrade:
    environments:
      lab: {token_url: "https://127.0.0.1:9443/oauth2/token", api_hosts: ["127.0.0.1:*"], ca_file: lab-ca.pem}
"""


def settings(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path, {"HOME": str(tmp_path)} | (environ or {}))


def problems(tmp_path: Path, text: str) -> list[str]:
    """Each problem as `line: message`."""
    with pytest.raises(ConfigInvalid) as invalid:
        settings(tmp_path, text)
    return [f"{problem.mark.line if problem.mark else '-'}: {problem.text}" for problem in invalid.value.problems]


def test_a_users_environment_is_part_of_the_broker(tmp_path: Path) -> None:
    """The built-in ones stay; relative files count from the configuration."""
    found = settings(tmp_path, GOOD)

    assert ["live", "practice", "lab"] == list(found.brokers["questrade"].environments)
    assert str(tmp_path / "lab-ca.pem") == found.brokers["questrade"].environments["lab"].ca_file
    assert ["questrade", "lab"] == list(found.config.mounts)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "broker: questrade, environment: live",
            "broker: questrad, environment: live",
            ["4:", "questrad'", "questrade'?"],
        ),
        ("environment: live", "environment: life", ["4:", "'life'", "live'?"]),
        ("scopes: [read_acc]}", "scopes: [read_acc, trades]}", ["4:", "'trades'", "trade'?"]),
        ("scopes: [read_acc]}", "scopes: [read_acc], api: data}", ["4:", "has no API 'data'"]),
        ("token_url", "tokenurl", ["10:", "tokenurl", "token_url'?", "is missing"]),
    ],
)
def test_what_a_mount_names_must_be_there(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    """Otherwise the line, the word, and what was probably meant."""
    found = problems(tmp_path, GOOD.replace(old, new, 1))

    assert all(any(part in problem for problem in found) for part in expected), found


def test_a_broker_with_a_mistake_is_not_called_unknown(tmp_path: Path) -> None:
    """What is wrong with its definition is told, and nothing that follows from it."""
    text = "mounts: {own: {broker: own, environment: live, scopes: [r]}}\nbrokers: {own: {titel: Own}}\n"
    found = problems(tmp_path, text)
    assert any("unknown key 'titel'" in problem for problem in found)
    assert not any("there is no broker" in problem for problem in found), found
    found = problems(tmp_path, "mounts: {own: {broker: own, environment: live, scopes: [r]}}\nbrokers: 1.5\n")
    assert any("there is no broker" in problem for problem in found), found


ALPACA = """
version: 1
mounts:
  alpaca: {broker: alpaca, environment: paper, scopes: ["account:read", trading], grant: paper}
  alpaca-data: {broker: alpaca, environment: paper, api: data, scopes: [data], grant: paper}
grants: {paper: {login: keys}}
"""


def test_a_mount_is_one_of_the_brokers_apis(tmp_path: Path) -> None:
    """The one that it names, or the broker's first."""
    found = settings(tmp_path, ALPACA)

    assert ["trading", "data"] == [found.api_of(name).name for name in ("alpaca", "alpaca-data")]
    assert ["paper"] == list(found.grants)
    with pytest.raises(LookupError):
        found.api_of("other")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "api: data",
            "api: dat",
            "5: mounts.alpaca-data.api: Alpaca has no API 'dat', did you mean 'data'?",
        ),
        (
            "api: data, scopes: [data]",
            "api: broker, scopes: []",
            (
                "5: mounts.alpaca-data.api: Alpaca has no API 'broker' in its environment 'paper', there: trading, "
                "data, stream"
            ),
        ),
        (
            "environment: paper, scopes",
            "environment: sandbox, scopes",
            (
                "4: mounts.alpaca.environment: Alpaca has no API 'trading' in its environment 'sandbox', there: data, "
                "broker, stream"
            ),
        ),
        (
            "environment: paper, scopes",
            "environment: papr, scopes",
            "4: mounts.alpaca.environment: Alpaca has no environment 'papr', did you mean 'paper'?",
        ),
        (
            "scopes: [data]",
            "scopes: [trading]",
            "5: mounts.alpaca-data.scopes.0: no call of the API 'data' needs scope 'trading', it belongs to trading",
        ),
        (
            "trading]",
            "data]",
            "4: mounts.alpaca.scopes.1: no call of the API 'trading' needs scope 'data', it belongs to data and stream",
        ),
        (
            "trading]",
            "tradin]",
            "4: mounts.alpaca.scopes.1: Alpaca has no scope 'tradin', did you mean 'trading'?",
        ),
        (
            "trading]",
            "zzz]",
            "4: mounts.alpaca.scopes.1: Alpaca has no scope 'zzz', known: account:read, account:write, trading",
        ),
    ],
)
def test_an_api_and_its_scopes_must_be_there(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """In this environment, and among what calls of this API need; else the line says where they are."""
    assert expected in problems(tmp_path, ALPACA.replace(old, new, 1))


def test_live_and_paper_never_share_a_grant(tmp_path: Path) -> None:
    """One login belongs to one environment, so that a client of one can never reach the other."""
    text = ALPACA.replace("paper, api: data", "live, api: data")
    assert any("5: mounts.alpaca-data.environment: differs from" in each for each in problems(tmp_path, text))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """Those of the file, of the mounts and of the user's brokers, by line."""
    text = (
        GOOD.replace("live", "life")
        .replace("read_md", "read_mad")
        .replace("ca_file", "cafile")
        .replace("version: 1", "version: 0")
    )
    lines = [int(problem.partition(":")[0]) for problem in problems(tmp_path, text)]

    assert {2, 4, 5, 10} <= set(lines)
    assert sorted(lines) == lines


def test_the_environment_and_flags_count_too(tmp_path: Path) -> None:
    """They lie over the file."""
    assert "debug" == settings(tmp_path, GOOD, {"BEARERD_LOG__LEVEL": "debug"}).config.log.level
    path = tmp_path / "config.yaml"
    assert "error" == read(path, {"BEARERD_LOG__LEVEL": "debug"}, {"log.level": "error"}).config.log.level


def test_a_missing_file_is_a_problem_like_any_other(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(ConfigInvalid) as invalid:
        read(tmp_path / "none.yaml", {})
    assert "bearerd init" in str(invalid.value)


def test_a_member_is_a_grant_like_the_one_that_it_is_beside(tmp_path: Path) -> None:
    """In all but its name; what can be no member is told apart by the reason."""
    text = "version: 1\nclients: none\nmounts:\n"
    text += "  questrade: {broker: questrade, environment: live, scopes: [read_acc]}\n"
    text += "  minted: {broker: alpaca, environment: sandbox, api: data, scopes: [data]}\n"
    text += "grants:\n  minted: {login: client-credentials, client_id: x, client_secret: y}\n"
    file = tmp_path / "config.yaml"
    file.write_text(text)
    found = read(file, {"HOME": str(tmp_path)})

    own = found.grants["questrade"]
    assert own is found.grant("questrade")
    assert replace(own, name="questrade/user-17") == found.grant("questrade/user-17")
    for name, reason in (
        ("nothing", "there is no grant 'nothing'"),
        ("nothing/ann", "there is no grant 'nothing'"),
        ("questrade/", "is no name of a grant"),
        ("questrade/Ann", "is no name of a grant"),
        ("questrade/ann/bob", "is no name of a grant"),
        ("questrade/ann\n", "is no name of a grant"),
        ("minted/ann", "the same for everybody"),
    ):
        with pytest.raises(NoSuchGrant, match=reason):
            found.grant(name)
