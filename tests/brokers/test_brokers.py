import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import brokers
from proxy.brokers import builtin, builtin_names, catalogue, load
from proxy.config import ConfigInvalid, parse_yaml

OWN = """\
mounts: {}
brokers:
  questrade:
    environments:
      lab: {token_url: "https://127.0.0.1:9443/oauth2/token", api_hosts: ["127.0.0.1:*"], ca_file: lab-ca.pem}
  acme:
    title: Acme
    scopes: {read: Read}
    logins: {paste: {kind: refresh-token, refresh_token_life: 3600}}
    environments: {live: {token_url: https://login.acme.test/token, api_server: https://api.acme.test}}
    dead_token: [{json: {error: invalid_grant}}]
    params: {}
    rows: [{id: time, method: GET, path: /time, scope: read}]
"""


def test_questrade_comes_with_bearerd() -> None:
    """The built-in definitions load without a problem, once."""
    assert "questrade" in builtin_names()
    assert builtin("questrade") is builtin("questrade")
    for name in builtin_names():
        assert name == builtin(name).name


def test_an_unknown_built_in_is_an_error() -> None:
    """A name that is no built-in, a path for instance, is looked up nowhere."""
    with pytest.raises(LookupError):
        builtin("../questrade")


def test_without_own_brokers_the_catalogue_is_the_built_in_one() -> None:
    """No `brokers:` part, or an empty one, changes nothing."""
    for own in (None, parse_yaml("mounts: {}", "config.yaml").part(("brokers",))):
        brokers, problems = catalogue(own)
        assert {name: builtin(name) for name in builtin_names()} == dict(brokers)
        assert ("moon" in brokers, brokers.get("moon"), len(brokers)) == (False, None, len(builtin_names()))
        assert [] == problems


def test_the_users_brokers_extend_and_join_the_built_in_ones() -> None:
    """A built-in's name extends it, another name defines a broker; the built-in itself is not changed."""
    brokers, problems = catalogue(parse_yaml(OWN, "config.yaml").part(("brokers",)), base=Path("/etc/bearerd"))
    assert [] == problems
    assert "/etc/bearerd/lab-ca.pem" == brokers["questrade"].environments["lab"].ca_file
    assert ("acme", "Acme") == (brokers["acme"].name, brokers["acme"].title)
    assert "lab" not in builtin("questrade").environments


def test_problems_of_the_users_brokers_have_their_place_in_the_configuration() -> None:
    """All problems come at once, by the file's own paths and lines; the rest of the catalogue stands."""
    text = OWN.replace("token_url: https://login", "tokens_url: https://login").replace("ca_file", "ca_flie")
    brokers, problems = catalogue(parse_yaml(text, "config.yaml").part(("brokers",)))
    assert [
        "5:91: questrade.environments.lab.ca_flie: unknown key 'ca_flie', did you mean 'ca_file'?",
        "10:27: acme.environments.live.tokens_url: unknown key 'tokens_url', did you mean 'token_url'?",
        "10:20: acme.environments.live.token_url: is missing, add `token_url: …`",
    ] == [str(problem).removeprefix("config.yaml:").replace("error: brokers.", "") for problem in problems]
    assert ["questrade"] == [name for name in brokers if name == "questrade"]


def test_a_broken_definition_does_not_load() -> None:
    """`load` raises with every problem, those of the YAML included; what is no YAML is only that."""
    with pytest.raises(ConfigInvalid) as caught:
        load(parse_yaml("title: [x\n", "x.yaml"), "x")
    assert 1 == len(caught.value.problems)
    with pytest.raises(ConfigInvalid) as caught:
        load(parse_yaml("title: x\ntitle: y\n", "x.yaml"), "x")
    said = str(caught.value)
    assert "given twice" in said
    assert "rows: is missing" in said


def _code(text: str) -> Iterator[str]:
    """The lines of a module without comments and docstrings."""
    lines = text.splitlines()
    silent = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return (line.partition("#")[0] for number, line in enumerate(lines, 1) if number not in silent)


def test_no_python_differs_by_broker() -> None:
    """What a broker is stands in its YAML file alone: 0 lines name one, and no module is called like one."""
    files = sorted(Path(brokers.__file__).parent.glob("*.py"))
    assert 5 < len(files)
    words = re.compile("|".join((*builtin_names(), "schwab")), re.IGNORECASE)
    found = [(file.name, line) for file in files for line in _code(file.read_text("utf-8")) if words.search(line)]
    assert [] == found
    assert set() == {file.stem for file in files} & set(builtin_names())


def test_every_file_of_a_definition_is_packed() -> None:
    """The three brokers that the documents describe come with bearerd."""
    assert ("alpaca", "questrade", "tradier") == builtin_names()
