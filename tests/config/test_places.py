"""Places as they stand in a configuration."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from proxy.config import Tcp
from proxy.config.model import Settings
from proxy.config.places import resolve


@pytest.mark.parametrize(
    ("text", "expected"), [("~", "/home/me"), ("~/x", "/home/me/x"), ("x/y", "/etc/b/x/y"), ("/abs", "/abs")]
)
def test_paths_start_at_home_or_at_the_file(text: str, expected: str) -> None:
    """`~` is the home directory, anything relative starts at the configuration's directory."""
    assert Path(expected) == resolve(text, Path("/etc/b"), Path("/home/me"))


def test_addresses_are_one_or_a_list() -> None:
    """`localhost` counts as two, `off` as none, relative sockets start at the file."""
    context = {"base": Path("/etc/b"), "home": Path("/home/me")}
    data = {"listen": ["localhost:1", "unix:b.sock"], "console": "off"}
    found = Settings.model_validate(data, context=context)
    assert ["127.0.0.1:1", "[::1]:1", "unix:/etc/b/b.sock"] == [str(each) for each in found.listen]
    assert () == found.console
    assert (Tcp("127.0.0.1", 8080),) == Settings().listen


def test_places_are_resolved() -> None:
    """`store` and `key: file:` become absolute; other key sources are kept as they are."""
    context = {"base": Path("/etc/b"), "home": Path("/home/me")}
    found = Settings.model_validate({"store": "sqlite:a.db", "key": "file:~/k"}, context=context)
    assert ("sqlite:/etc/b/a.db", "file:/home/me/k") == (found.store, found.key)
    for spec in ("passphrase", "env:NAME", "credential:x", "command:pass show x"):
        assert spec == Settings(key=spec).key


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("listen", "127.0.0.1", "lacks the address before the port"),
        ("listen", [], "needs at least one address"),
        ("listen", 8080, "must be an address"),
        ("console", ["127.0.0.1:1", "tls:127.0.0.1:2"], "is for `listen`; beyond this machine the console has TLS"),
        ("store", "mysql:x", "is no kind of store"),
        ("state", "", "must be a path"),
        ("key", "file:", "does not say where the master key is"),
    ],
)
def test_a_place_that_is_none_is_refused(key: str, value: object, says: str) -> None:
    """In words of ours."""
    with pytest.raises(ValidationError, match=says):
        Settings.model_validate({key: value})


def test_tls_in_front_of_an_address_is_kept() -> None:
    """And written back."""
    found = Settings.model_validate({"listen": ["127.0.0.1:1", "tls:localhost:2"]}).listen
    assert ["127.0.0.1:1", "tls:127.0.0.1:2", "tls:[::1]:2"] == [each.written for each in found]
