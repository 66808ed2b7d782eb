"""`bearerd config` and `bearerd reload`."""

import json

from proxy.clock import SystemClock
from tests.authority import Authority
from tests.cli.support import Person, invoke
from tests.product import ROOT


def test_a_good_file_is_called_good(person: Person) -> None:
    """Exit code 0, nothing on stdout."""
    result = invoke("config", "check", "-c", str(person.write_config()))

    assert (0, "") == (result.exit_code, result.stdout)
    assert "is good: 1 mount." in result.stderr


def test_mistakes_are_data_too(person: Person) -> None:
    """With --json each problem has its line, its column and its remedy; the exit code stays 3."""
    path = person.write_config(**{"scopes: [read_acc, read_md]": "scopes: [read_ac]", "[read_md]": "[read_md, x]"})
    result = invoke("config", "check", "--json", "-c", str(path))

    assert 3 == result.exit_code
    problems = json.loads(result.stdout)["problems"]
    assert (10, "mounts.questrade.scopes.0") == (problems[0]["line"], problems[0]["path"])
    assert "did you mean 'read_acc'?" == problems[0]["fix"]


def test_show_says_where_each_value_comes_from(person: Person) -> None:
    """A value of the file with its line, one of the environment with its name, a default as such."""
    path = str(person.write_config())
    shown = invoke("config", "show", "--origin", "-c", path, BEARERD_LOG__LEVEL="debug").stdout

    assert f"environment: live  # {path}:9" in shown
    assert "level: debug  # BEARERD_LOG__LEVEL" in shown
    assert "grace: 20.0  # default" in shown or "grace: 20  # default" in shown


def test_show_as_data(person: Person) -> None:
    """Values as they are in force, and their origins by dotted key."""
    found = json.loads(invoke("config", "show", "--json", "--origin", "-c", str(person.write_config())).stdout)

    assert 1 == found["schema"]
    assert ["read_acc", "read_md"] == found["config"]["mounts"]["questrade"]["scopes"]
    assert found["origin"]["mounts.questrade.scopes"].endswith("config.yaml:10")


def test_the_schema_is_the_one_in_the_repository() -> None:
    """`config.schema.json` is what `bearerd config schema` prints."""
    assert json.loads((ROOT / "config.schema.json").read_text()) == json.loads(invoke("config", "schema").stdout)


def test_reload_takes_a_change_over_or_says_why_not(customer: Person) -> None:
    """A good change is loaded; a bad one is refused with the problems, and the server serves on."""
    customer.serve()
    text = customer.config.read_text()

    customer.config.write_text(text.replace("[read_acc, read_md]", "[read_md]"))
    assert ["mounts"] == customer.run("reload", "--json").document["changed"]

    customer.config.write_text(text.replace("[read_acc, read_md]", "[nonsense]"))
    done = customer.run("reload")
    assert 3 == done.code
    assert "nonsense" in done.err
    assert ["read_md"] == customer.run("status", "--json").document["mounts"][0]["scopes"]


def test_reload_without_a_server(customer: Person) -> None:
    """Nothing to reload: 6."""
    assert 6 == customer.run("reload").code


def test_check_looks_into_the_files_of_tls(person: Person) -> None:
    """A key that others can read, say, is told with its line and the command that helps."""
    ours = Authority(person.home / "tls", "ours", now=SystemClock().now().wall)
    pair = ours.issue("server", "localhost")
    tls = "tls:\n  certificate_file: tls/server.crt\n  key_file: tls/server.key\n"
    path = str(person.write_config(**{"clients:\n": f"{tls}clients:\n"}))
    assert 0 == invoke("config", "check", "-c", path).exit_code

    pair.key.chmod(0o644)
    result = invoke("config", "check", "--json", "-c", path)

    (problem,) = json.loads(result.stdout)["problems"]
    assert (3, "tls.key_file", 13) == (result.exit_code, problem["path"], problem["line"])
    assert "run: chmod 600" in problem["message"]
