"""`bearerd tls`."""

import json
import re
import ssl
from pathlib import Path

import pytest

from proxy.cli.tls import TRUST
from tests.cli.support import Person, invoke

LOCAL = {"clients:\n": 'tls: {local_ca: true}\nallowed_hosts: ["bearerd.internal:*"]\nclients:\n'}


@pytest.fixture(name="path")
def _path(person: Person) -> str:
    return str(person.write_config(**LOCAL))


def test_an_authority_is_made_once(person: Person, path: str) -> None:
    """For the names of the configuration and those that are given; a second time nothing is changed."""
    first = invoke("tls", "init", "-c", path, "--json", "--name", "10.1.2.3")
    again = invoke("tls", "init", "-c", path, "--json")
    made, found = json.loads(first.stdout), json.loads(again.stdout)

    assert (True, False, 0, 0) == (made.pop("made"), found.pop("made"), first.exit_code, again.exit_code)
    assert made == found
    assert ["localhost", "127.0.0.0/8", "::1/128", "bearerd.internal", "10.1.2.3/32"] == made["signs_for"]
    assert str(person.home / "state/tls/ca.pem") == made["ca_file"]
    assert 1 == len(ssl.create_default_context(cafile=made["ca_file"]).get_ca_certs())
    assert {0o600} == {file.stat().st_mode & 0o777 for file in (person.home / "state/tls").glob("*.pem")}
    assert 0o700 == (person.home / "state/tls").stat().st_mode & 0o777


def test_another_is_made_only_on_request(path: str) -> None:
    """Whoever trusts the first has to trust it anew, so it is said what is missing, and how."""
    first = json.loads(invoke("tls", "init", "-c", path, "--json").stdout)

    said = invoke("tls", "init", "-c", path, "--name", "other.internal")
    assert "It was made without other.internal. To make another: bearerd tls init --replace" in said.stderr
    assert first["sha256"] == json.loads(invoke("tls", "show", "-c", path, "--json").stdout)["sha256"]

    said = invoke("tls", "init", "-c", path, "--name", "other.internal", "--replace")
    assert "It can sign for localhost, 127.0.0.0/8, ::1, bearerd.internal, other.internal" in said.stderr
    assert first["sha256"] != json.loads(invoke("tls", "show", "-c", path, "--json").stdout)["sha256"]


def test_what_is_missing_in_the_configuration_is_shown(person: Person) -> None:
    """The two lines that put it to use; with them in it, no more."""
    said = invoke("tls", "init", "-c", str(person.write_config()))
    assert 'listen: [127.0.0.1:8080, "tls:127.0.0.1:8443"]\n  tls: {local_ca: true}\n' in said.stderr
    person.write_config(**LOCAL, **{"listen: 127.0.0.1:0": 'listen: [127.0.0.1:8080, "tls:127.0.0.1:8443"]'})

    assert 0 == invoke("config", "check", "-c", str(person.config)).exit_code
    assert "config" not in invoke("tls", "init", "-c", str(person.config), "--replace").stderr


def test_it_is_shown_with_how_to_trust_it(path: str) -> None:
    """Facts on stdout; nothing tells anybody to skip a check."""
    made = json.loads(invoke("tls", "init", "-c", path, "--json").stdout)

    shown = invoke("tls", "show", "-c", path)

    for fact in (made["name"], made["ca_file"], made["bundle"], made["sha256"], "bearerd.internal"):
        assert fact in shown.stdout
    assert re.search(r"^ends .*, in (729d23h|730d0h)$", shown.stdout, re.MULTILINE)
    for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "keytool"):
        assert name in shown.stderr
    assert not any(word in TRUST for word in ("insecure", "REJECT_UNAUTHORIZED", "verify=", "curl -k"))
    pem = invoke("tls", "show", "--pem", "-c", path).stdout
    assert Path(made["ca_file"]).read_text() == pem


@pytest.mark.parametrize(
    "name", ["Upper.internal", "a..b", "host:8443", "*.internal", "https://x", "a.-b", "fe80::1%lo", ""]
)
def test_a_name_that_is_none_is_refused(path: str, name: str) -> None:
    """Before anything is made."""
    result = invoke("tls", "init", "-c", path, "--name", name)
    assert (2, True) == (result.exit_code, "a name in lower case or an address, without a port" in result.stderr)
    assert 1 == invoke("tls", "show", "-c", path).exit_code


def test_a_name_of_one_label_is_warned_of(path: str) -> None:
    """It may be a host of a private network; as a part of a limit it stands for all that ends in it."""
    result = invoke("tls", "init", "-c", path, "--name", "com", "--name", "desk.internal")
    assert 0 == result.exit_code
    assert "! com stands for everything that ends in .com" in result.stderr
    assert "desk.internal stands" not in result.stderr


def test_without_one_the_next_command_is_named(path: str) -> None:
    """By `show`, and by whatever needs it."""
    shown, checked = invoke("tls", "show", "-c", path), invoke("config", "check", "-c", path)
    assert (1, 3) == (shown.exit_code, checked.exit_code)
    assert "To fix: bearerd tls init" in shown.stderr
    assert "tls.local_ca: there is no local authority yet, run: bearerd tls init" in checked.stderr


def test_init_makes_what_the_configuration_asks_for(person: Person, path: str) -> None:
    """`bearerd init` beside the master key, so that a fresh volume needs one command; once."""
    assert "made a local CA, " in person.run("init").err
    assert "made a local CA, " not in person.run("init").err
    assert 0 == invoke("config", "check", "-c", path).exit_code
