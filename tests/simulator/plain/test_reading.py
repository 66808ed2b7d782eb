"""A file → a broker, or all that is wrong with it."""

from pathlib import Path

import pytest

from proxy.config import ConfigInvalid
from proxy.simulator.plain.reading import read_setup
from proxy.simulator.plain.setup import Setup
from tests.simulator.plain.bench import CODE, MINTED, PASTED, SECRET

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def _read(tmp_path: Path, text: str) -> Setup:
    file = tmp_path / "broker.yaml"
    file.write_text(text, "utf-8")
    return read_setup(file)


def test_every_key_of_a_login_is_read(tmp_path: Path) -> None:
    """What the file says of the login host is in the setup, in seconds and bytes."""
    setup = _read(
        tmp_path,
        CODE.replace(
            "  redirect: ", "  dead_token: {status: 418, text: tea}\n  pkce: true\n  scopes: [a]\n  redirect: "
        ),
    )
    endpoint = setup.endpoint

    assert endpoint is not None
    assert ("plain", "The Plain Broker", "code", "person") == (setup.name, setup.title, setup.kind, setup.login)
    assert ("/token", "/authorize", "basic") == (endpoint.token, endpoint.authorize, endpoint.client_auth)
    assert ("app", "app:secret", 2) == (endpoint.client_id, endpoint.client_secret, len(endpoint.redirect_uris))
    assert (30, 1800, 604800) == (endpoint.code_life, endpoint.expires_in, endpoint.refresh_token_life)
    assert ("rotating", "login", True, ("a",)) == (
        endpoint.refresh, endpoint.life_counts_from, endpoint.pkce, endpoint.scopes
    )  # fmt: skip
    assert ({"scope": "api"}, {"session": "7"}) == (endpoint.answer, endpoint.redirect)
    assert (418, b"tea") == (endpoint.dead_token.status, endpoint.dead_token.body)
    assert (401, b'{"error":"invalid_client"}') == (endpoint.bad_client.status, endpoint.bad_client.body)


def test_a_plain_secret_has_no_login_host(tmp_path: Path) -> None:
    """Its parts are as many as its placement has names."""
    setup = _read(tmp_path, SECRET)

    assert setup.endpoint is None
    assert ("keys", ("key-id", "canary"), ("trading", "data")) == (setup.login, setup.secret, setup.apis)
    assert ("headers", ("X-Key-Id", "X-Key")) == (setup.placement.kind, setup.placement.names)
    assert (403, b'{"message":"no"}') == (setup.refused.status, setup.refused.body)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [("", ("bearer", ())), ("placement: bearer", ("bearer", ())), ("placement: {query: key}", ("query", ("key",)))],
)
def test_a_placement_is_a_word_or_names(tmp_path: Path, placement: str, expected: object) -> None:
    """Without the key the credential is a bearer."""
    secret = "name: p\nlogin: {kind: secret, secret: [a]}\ncalls: [{method: GET, path: /a}]\n"
    found = _read(tmp_path, secret + placement).placement

    assert expected == (found.kind, found.names)


def test_lives_may_have_no_end(tmp_path: Path) -> None:
    """`never` is None; without the key an access token lives five minutes and a refresh token for ever."""
    pasted = _read(tmp_path, PASTED).endpoint
    assert pasted is not None
    assert (None, None) == (pasted.expires_in, pasted.refresh_token_life)

    without = _read(tmp_path, PASTED.replace(", expires_in: never", "")).endpoint
    assert without is not None
    assert 300 == without.expires_in


MISTAKES = [
    (CODE, "name: plain\n", "", "name: is missing"),
    (CODE, "title:", "titel:", ":2:1: error: titel: unknown key 'titel', did you mean 'title'?"),
    (CODE, "kind: code", "kind: cod", ":5:9: error: login.kind: is not one of"),
    (CODE, "  authorize: /authorize\n", "", "login.authorize: is missing"),
    (CODE, "client_auth: basic", "client_auth: digest", "login.client_auth: is not one of"),
    (CODE, "refresh: rotating", "refresh: often", "login.refresh: is not one of"),
    (CODE, "expires_in: 1800", "expires_in: soon", "login.expires_in: must be a number"),
    (CODE, "method: GET, path: /v1/accounts,", "method: LOOK, path: /v1/accounts,", "calls.0.method: is not one of"),
    (CODE, "path: /v1/accounts,", "path: v1/accounts,", "calls.0.path: must start with `/`"),
    (CODE, "  answer: {", "  dead_token: {body: x}\n  answer: {", "login.dead_token.body: unknown key 'body'"),
    (SECRET, "[key-id, canary]", "[key-id]", "login.secret: must be a list of 2, as the placement has it"),
    (SECRET, "{headers: [X-Key-Id, X-Key]}", "{cookies: [a]}", "placement.cookies: unknown key 'cookies'"),
    (SECRET, "{headers: [X-Key-Id, X-Key]}", "digest", "placement: is not one of bearer, basic"),
    (MINTED, "token: /token, ", "", "login.token: is missing"),
    (MINTED, "name: plain\n", "name: plain\n\tx: 1\n", "a tab in the indentation"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "expected"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, old: str, new: str, expected: str) -> None:
    """What is wrong is said in the words of the configuration's own errors, without what the file holds."""
    assert old in text

    with pytest.raises(ConfigInvalid) as caught:
        _read(tmp_path, text.replace(old, new, 1))

    assert any(expected in str(problem) for problem in caught.value.problems), str(caught.value)
    assert "canary" not in str(caught.value)


def test_the_example_shows_every_key_of_a_login_with_a_code() -> None:
    """The example can be read, and is the broker of the shape that its definition describes."""
    setup = read_setup(EXAMPLES / "schwab-simulator.yaml")

    assert setup.endpoint is not None
    assert ("schwab", "oauth", "code", "basic") == (setup.name, setup.login, setup.kind, setup.endpoint.client_auth)
    assert ["POST", "PUT"] == [call.method for call in setup.calls if call.order]
