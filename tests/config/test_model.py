import json
from pathlib import Path
from time import process_time

import pytest
from pydantic import ValidationError

from proxy.config import schema
from proxy.config.address import Wrong
from proxy.config.model import Grant, Settings

ROOT = Path(__file__).resolve().parents[2]
NO_STORE = "write sqlite:PATH, or for a database postgresql://USER@HOST/DATABASE"


def _refused(**data: object) -> list[tuple[str, str | None]]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(data)
    wrong = [found.get("ctx", {}).get("error") for found in caught.value.errors()]
    return [(each.message, each.fix) for each in wrong if isinstance(each, Wrong)]


def test_the_schema_file_is_up_to_date() -> None:
    """Editors see exactly what the models take: `bearerd config schema > config.schema.json`."""
    assert schema() == json.loads((ROOT / "config.schema.json").read_text("utf-8"))


def test_an_editor_marks_names_of_a_wrong_form() -> None:
    """Every mapping with names of the user's takes names of the one form and no others."""
    places = [json.loads((ROOT / "config.schema.json").read_text("utf-8"))]
    named = []
    for place in places:
        places += [
            below for below in (place.values() if isinstance(place, dict) else place) if isinstance(below, dict | list)
        ]
        named += [place] if "patternProperties" in place else []
    assert [False] * 6 == [each.get("additionalProperties") for each in named]


def test_every_key_is_described() -> None:
    """Each key of the schema says what it is for."""
    found = schema()
    sections = [found, *found["$defs"].values()]
    # A section whose description is its own docstring is only referred to.
    told = [
        (name, key.keys() & {"description", "$ref"}) for each in sections for name, key in each["properties"].items()
    ]
    bare = [name for name, words in told if not words]
    assert [] == bare


def test_nothing_can_be_changed() -> None:
    """Sections are frozen: a reload makes new ones."""
    with pytest.raises(ValidationError):
        Settings().log.level = "debug"  # type: ignore[misc]


def test_a_secret_is_not_shown() -> None:
    """Neither the section nor an error shows it."""
    grant = Grant.model_validate({"client_secret": "canary-1"})
    assert "canary" not in repr(grant)
    assert grant.client_secret is not None
    assert "canary-1" == grant.client_secret.reveal()
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"grants": {"x": {"client_secrett": "canary-2", "client_id": 7}}})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message", "fix"),
    [
        (
            {"store": "postgresql://u:p@h/d"},
            "may hold no password",
            "put it into a file (mode 0600) and name that in store_password_file",
        ),
        ({"store": "/x/y.db"}, "is no kind of store", NO_STORE),
        ({"store": "sqlite:"}, "is no kind of store", NO_STORE),
        (
            {"key": "hunter2"},
            "does not say where the master key is",
            "write file:PATH, env:NAME, credential:NAME, command:COMMAND or passphrase",
        ),
        ({"listen": 8080}, "must be an address", "write 127.0.0.1:PORT or unix:PATH"),
        ({"listen": []}, "needs at least one address", "write 127.0.0.1:PORT"),
        ({"allowed_hosts": ["a:1", "a:1"]}, "holds 'a:1' twice", "remove one of the two"),
        ({"user_agent": "a\nb"}, "must be 1 to 256 printable ASCII characters", "write name/version"),
        ({"egress_proxy": "http://u:p@h:1"}, "may hold no user and password", "write http://HOST:PORT"),
        ({"grants": {"x": {"client_secret": 7}}}, "must be text", "put it in quotes"),
        ({"grants": {"x": {"client_secret_file": 7}}}, "must be a path", "write it as text"),
        ({"grants": {"x": {"apps": {"a": {"client_secret": 7}}}}}, "must be text", "put it in quotes"),
        ({"mounts": {"bearerd": {}}}, "'bearerd' is kept for bearerd itself", "choose another name"),
    ],
)
def test_a_wrong_value_is_explained(data: dict[str, object], message: str, fix: str) -> None:
    """What is wrong and what to write."""
    assert (message, fix) in _refused(**data)


@pytest.mark.parametrize(
    "text", ["https://h:1", "socks5://h:1", "h:1", "http://h", "http://h:1/x", "http://h:99999", "http://[:1"]
)
def test_only_a_plain_http_proxy_is_taken(text: str) -> None:
    """Anything but http://HOST:PORT is refused."""
    assert [("is no address of a proxy", "write http://HOST:PORT")] == _refused(egress_proxy=text)


@pytest.mark.parametrize("text", ["localhost:1/callback", "app:/x", "http://", "https://h/#x", "https://h/a b", "//h"])
def test_a_redirect_is_an_address_that_a_browser_follows(text: str) -> None:
    """Absolute, http or https, without a fragment."""
    why = "is no address that a browser can be sent back to"
    assert [(why, "write http://127.0.0.1:PORT/callback")] == _refused(grants={"x": {"redirect_uri": text}})


@pytest.mark.parametrize(
    "text", ["bearerd.internal", "A.b:1", "a b:1", "*:1", "a:", "a:x", "-a:1", "a..b:1", "[::::]:1"]
)
def test_a_host_needs_its_port(text: str) -> None:
    """`Host` is compared exactly, so a name is given in the form that it has on the wire."""
    assert 1 == len(_refused(allowed_hosts=[text]))


def test_good_hosts_and_proxies_are_taken() -> None:
    """Names and bracketed addresses with a port or `*`; a proxy loses its trailing slash."""
    found = Settings(allowed_hosts=("bearerd.internal:*", "[::1]:9000"), egress_proxy="http://proxy:3128/")
    assert (("bearerd.internal:*", "[::1]:9000"), "http://proxy:3128") == (found.allowed_hosts, found.egress_proxy)


def test_a_long_list_is_checked_in_linear_time() -> None:
    """Tens of thousands of values, none of them twice, are no reason to wait."""
    began = process_time()
    found = Settings(allowed_hosts=tuple(f"h{number}:1" for number in range(20_000)))
    assert process_time() - began < 2
    assert 20_000 == len(found.allowed_hosts)
