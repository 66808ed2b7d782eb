"""The authorization code flow that simulated brokers share."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from proxy.simulator.authorize import Asked, Desk, Parameters, Refused, asked, basic_of, query_of, same
from tests.simulator.support import HandClock

CALLBACK = "http://127.0.0.1:8081/callback"
REQUEST = {"client_id": "app", "response_type": "code", "redirect_uri": CALLBACK, "scope": "a b", "state": "s&<t>"}
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


def _check(parameters: Parameters) -> Asked:
    return asked(parameters, client_id="app", callback=CALLBACK, scopes=("a", "b"))


@pytest.fixture
def desk(clock: HandClock) -> Desk:
    return Desk("Broker", "/authorize", _check, clock)


def _code(location: str) -> str:
    return parse_qs(urlsplit(location).query)["code"][0]


def test_the_page_carries_the_request_escaped(desk: Desk) -> None:
    """Every parameter in a hidden field, the scopes for a person to read, two buttons."""
    answer = desk.page(REQUEST)
    text = answer.body.decode()

    assert (200, "no-store") == (answer.status, answer.headers["Cache-Control"])
    assert 'name="state" value="s&amp;&lt;t&gt;"' in text
    assert "<li>a</li><li>b</li>" in text
    assert ("<t>" in text, 2) == (False, text.count('name="decision"'))


def test_allowing_and_denying_lead_back(desk: Desk) -> None:
    """With a code or an error, and the state."""
    allowed = desk.decide({**REQUEST, "decision": "allow"}).headers["Location"]
    denied = desk.decide({**REQUEST, "decision": "deny"}).headers["Location"]

    assert ["code", "state"] == list(parse_qs(urlsplit(allowed).query))
    assert {"error": ["access_denied"], "state": ["s&<t>"]} == parse_qs(urlsplit(denied).query)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"response_type": "token"},
        {"redirect_uri": "https://evil.example/"},
        {"scope": ""},
        {"scope": "a c"},
        {"code_challenge": "x"},
        {"code_challenge": "x", "code_challenge_method": "plain"},
    ],
)
def test_a_bad_request_is_refused_everywhere(desk: Desk, changes: dict[str, str]) -> None:
    """On the page, by the buttons and by `approve`; nobody is redirected."""
    request = {**REQUEST, **changes}

    assert 400 == desk.page(request).status
    assert 400 == desk.decide({**request, "decision": "allow"}).status
    assert 400 == desk.decide({**request, "decision": "deny"}).status
    with pytest.raises(Refused):
        desk.approve(request)


@pytest.mark.parametrize(
    ("wrong", "good"),
    [
        ({}, True),
        ({"redirect_uri": None}, True),
        ({"client_id": "other"}, False),
        ({"redirect_uri": CALLBACK + "/"}, False),
        ({"code": "made-up"}, False),
        ({"late": True}, False),
    ],
)
def test_a_code_is_bound_to_client_address_and_ten_minutes(
    desk: Desk, clock: HandClock, wrong: dict[str, str], good: bool
) -> None:
    """An address that is left out is not compared."""
    code = _code(desk.approve(REQUEST))
    clock.time += 600 if "late" in wrong else 599
    given = {"code": code, "client_id": "app", "redirect_uri": CALLBACK, **wrong}
    found = desk.exchange(given["code"], given["client_id"], redirect_uri=given["redirect_uri"])

    assert good == (found is not None)


def test_a_code_is_good_once_and_says_what_was_asked(desk: Desk) -> None:
    """The scopes and the state; a wrong exchange uses it up too."""
    code, other = _code(desk.approve(REQUEST)), _code(desk.approve(REQUEST))

    assert Asked("app", CALLBACK, ("a", "b"), "s&<t>") == desk.exchange(code, "app")
    assert desk.exchange(code, "app") is None
    assert desk.exchange(other, "thief") is None
    assert desk.exchange(other, "app") is None


@pytest.mark.parametrize(("verifier", "good"), [(VERIFIER, True), ("w" * 43, False), (None, False)])
def test_a_challenge_wants_its_verifier(desk: Desk, verifier: str | None, good: bool) -> None:
    """PKCE with S256."""
    code = _code(desk.approve({**REQUEST, **PKCE}))

    assert good == (desk.exchange(code, "app", verifier=verifier) is not None)


def test_a_broker_may_add_to_its_redirects(clock: HandClock) -> None:
    """And have codes that live shorter."""
    desk = Desk("Broker", "/authorize", _check, clock, code_life=30, extra={"session": "x"})
    location = desk.approve(REQUEST)
    clock.time += 30

    assert ["x"] == parse_qs(urlsplit(location).query)["session"]
    assert desk.exchange(_code(location), "app") is None


def test_a_broker_may_know_the_callback_and_want_a_state() -> None:
    """Then a request names no redirect address, and no response type."""
    found = asked(
        {"client_id": "app", "state": "s"},
        client_id="app",
        callback=CALLBACK,
        response_types=(),
        names_redirect=False,
        needs_state=True,
    )

    assert (CALLBACK, "s") == (found.redirect_uri, found.state)
    with pytest.raises(Refused, match="state"):
        asked({**REQUEST, "state": ""}, client_id="app", callback=CALLBACK, needs_state=True)


def test_an_authorize_address_has_the_path_of_its_page() -> None:
    """Its query is what is asked for."""
    assert {"a": "1"} == query_of("https://h:1/authorize?a=1", "/authorize")
    with pytest.raises(Refused, match="not an authorize address"):
        query_of("https://h:1/authorize/x?a=1", "/authorize")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic ZGVtby1jbGllbnQ6ZGVtby1zZWNyZXQ=", ("demo-client", "demo-secret")),
        ("basic YTpiOmM=", ("a", "b:c")),
        ("Basic YQ==", None),
        ("Basic !!", None),
        ("Basic /w==", None),
        ("Bearer ZGVtbw==", None),
        ("", None),
        (None, None),
    ],
)
def test_basic_credentials_are_read_or_not_at_all(header: str | None, expected: tuple[str, str] | None) -> None:
    """RFC 7617: the first colon parts user and password."""
    assert expected == basic_of(header)


def test_secrets_are_compared_whole() -> None:
    """Letters outside of ASCII too."""
    assert same("ä", "ä")
    assert not same("a", "ab")
