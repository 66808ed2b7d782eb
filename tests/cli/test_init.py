"""`bearerd init`: everything that a first start needs, and nothing that was there is touched."""

import stat
from pathlib import Path

import pytest

from proxy.cli.init import configuration
from proxy.gate.clients import key_fault
from tests.cli.support import Person, invoke
from tests.database import Server


def test_a_first_run_makes_all_that_is_needed(person: Person) -> None:
    """Configuration, master key, store and one client key, alone on stdout; files 0600 in folders 0700."""
    done = person.run("init")

    assert 0 == done.code, done.err
    assert key_fault(done.out.removesuffix("\n")) is None
    assert done.out.strip() not in done.err
    made = [person.home / ".config/bearerd/config.yaml", person.home / ".config/bearerd/master.key"]
    made.append(person.home / ".local/state/bearerd/store.db")
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in made}
    assert {0o700} == {stat.S_IMODE(path.parent.stat().st_mode) for path in made}
    assert "Next: bearerd login questrade, then: bearerd serve" in done.err


def test_what_it_writes_is_a_good_configuration(person: Person) -> None:
    """Reading is allowed, orders are not, and the first client may read."""
    person.run("init")

    assert 0 == person.run("config", "check").code
    order = ("scopes", "check", "POST", "/questrade/v1/accounts/26598145/orders", "--client", "notebook")
    assert 1 == person.run(*order).code
    assert 0 == person.run("scopes", "check", "GET", "/questrade/v1/accounts", "--client", "notebook").code


def test_a_second_run_changes_nothing(person: Person) -> None:
    """No file is another than before, and no second key is made."""
    person.run("init")
    before = {path: path.read_bytes() for path in (person.home / ".config").rglob("*") if path.is_file()}
    done = person.run("init")

    assert (0, "") == (done.code, done.out)
    assert "nothing was changed" in done.err
    assert before == {path: path.read_bytes() for path in before}


def test_a_configuration_of_one_s_own_is_kept(person: Person) -> None:
    """Key and store go where it says, relative to it."""
    text = person.write_config().read_text()
    done = person.run("init", "--json", "-c", "config.yaml")

    assert text == person.config.read_text()
    assert key_fault(done.document["client_key"]) is None
    assert (person.home / "keys/master.key").exists()
    assert (person.home / "state/store.db").exists()


def test_the_first_client_of_one_s_own_configuration_gets_the_first_key(person: Person) -> None:
    """Whatever it is called; a second run makes no second key."""
    file = person.write_config()
    file.write_text(file.read_text().replace("notebook", "bot"))
    done, again = person.run("init", "--json"), person.run("init", "--json")

    assert ("bot", None) == (done.document["client"], key_fault(done.document["client_key"]))
    assert (None, None) == (again.document["client"], again.document["client_key"])


def test_serving_too_early_stands_in_nobodys_way(person: Person) -> None:
    """`serve` before `init` names the command that is missing, and leaves nothing that `init` would stumble over."""
    person.write_config()
    early = person.run("serve")
    done = person.run("init")

    assert 5 == early.code
    assert "bearerd init" in early.err
    assert 0 == done.code, done.err


def test_a_store_without_its_key_gets_no_new_one(person: Person) -> None:
    """A new key would open nothing: the person is told to put the old one back."""
    person.write_config()
    person.run("init")
    key = person.home / "keys/master.key"
    key.rename(key.with_suffix(".away"))
    done = person.run("init")

    assert 1 == done.code
    assert "put the old one back" in done.err
    assert not key.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--broker", "questrde"], "did you mean 'questrade'"),
        (["--environment", "moon"], "known: live, practice"),
        (
            ["--broker", "tradier", "--environment", "sandbox", "--api", "stream"],
            "has no API 'stream'; known: rest, ws",
        ),
    ],
)
def test_a_wrong_broker_environment_or_api_writes_nothing(arguments: list[str], expected: str, tmp_path: Path) -> None:
    """A usage error, and no file."""
    path = tmp_path / "config.yaml"
    result = invoke("init", *arguments, "-c", str(path))

    assert 2 == result.exit_code
    assert expected in result.stderr
    assert not path.exists()


def test_the_template_lists_the_scopes_with_their_meaning() -> None:
    """A person can see what `trade` is before they add it."""
    from proxy.brokers import builtin

    text = configuration(builtin("questrade"), "practice", "main")

    assert "environment: practice" in text
    assert "scopes: [read_acc, read_md]" in text
    assert "#   trade: Place, change and cancel orders" in text


@pytest.mark.parametrize(
    ("broker", "environment", "api", "expected"),
    [
        ("tradier", "live", "rest", ["scopes: [read, market]", "#tradier-ws: {", "#tradier-stream: {"]),
        ("tradier", "sandbox", "ws", ["    api: ws", "scopes: [stream]", "#tradier-rest: {"]),
        ("alpaca", "paper", "trading", ["scopes: [account:read]", "{login: keys}", "#alpaca-data: {"]),
        ("alpaca", "sandbox", "broker", ["    api: broker", "{login: broker-basic}", "broker:kyc.read, "]),
    ],
)
def test_each_brokers_first_configuration_is_good_and_only_reads(
    broker: str, environment: str, api: str, expected: list[str], tmp_path: Path
) -> None:
    """The scopes are those of the API, the login one that needs no application, other APIs are a comment away."""
    from proxy.brokers import builtin
    from proxy.settings import read

    text = configuration(builtin(broker), environment, api)
    assert [] == [part for part in expected if part not in text]
    path = tmp_path / "config.yaml"
    path.write_text(text.replace(f"  #{broker}", f"  {broker}"))
    settings = read(path, {})
    rows = settings.api_of(broker).table.rows
    allowed = [row for row in rows if row.scope in settings.config.mounts[broker].scopes]
    assert 0 < len(allowed)
    assert not any(row.mutating for row in allowed)
    assert settings.grants[broker].login.kind == "secret"


def test_another_api_is_asked_for_by_name(person: Person) -> None:
    """The whole command, for a broker with several."""
    done = person.run("init", "--broker", "alpaca", "--environment", "paper", "--api", "data")

    assert 0 == done.code, done.err
    assert 0 == person.run("scopes", "check", "GET", "/alpaca/v2/stocks/bars", "--client", "notebook").code


def test_no_second_key_is_made_for_a_database(person: Person, postgres: Server) -> None:
    """Nor a first one before it has tables; on the second server the key of the first one is asked for."""
    person.write_config()
    address = postgres.create()
    settings = {"BEARERD_STORE": address, "BEARERD_STATE": str(person.home / "state")}
    early = person.run("init", "-c", "config.yaml", **settings)
    assert (1, True) == (early.code, "bearerd store migrate" in early.err)
    key = person.home / "keys/master.key"
    assert not key.exists()

    assert 0 == person.run("store", "migrate", "-c", "config.yaml", **settings).code
    first = person.run("init", "-c", "config.yaml", **settings)
    assert (0, None) == (first.code, key_fault(first.out.removesuffix("\n"))), first.err
    key.rename(person.home / "away")
    second = person.run("init", "-c", "config.yaml", **settings)
    assert (1, False) == (second.code, key.exists())
    assert f"{address} is sealed with the master key " in second.err
    assert "bring the one that the other servers have" in second.err
