"""What a token answer becomes: whatever is wrong with it, the refresh token is kept; and what an error says."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import HostPattern, Origin, builtin
from proxy.brokers.definition import Login
from proxy.clock import Now
from proxy.secret import Secret
from proxy.tokens.answer import Terms, as_answer, read_answer, said, sendable
from proxy.tokens.grant import Grant, token_hash

NOW = Now(1_772_557_200.0, 5_000.0)
API = Origin("api01.iq.questrade.com", 443)
HOSTS = (HostPattern.parse("api##.iq.questrade.com"),)
TERMS = Terms(HOSTS, min_life=60.0, refresh_token_life=3 * 86400.0, api_server_in_answer=True)
BEFORE = Grant("questrade", 4, "login-1", "questrade/live", Secret("R-old"), Secret("A-old"), API, 1.0, 2.0, 3.0)
FIELDS = {
    "access_token": "A-new",
    "api_server": "https://api02.iq.questrade.com/",
    "expires_in": 1800,
    "refresh_token": "R-new",
    "token_type": "Bearer",
}
BODY = json.dumps(FIELDS).encode()


def test_an_answer_becomes_the_next_generation() -> None:
    """Everything of it in one value."""
    parsed = read_answer(BODY, BEFORE, TERMS, NOW)

    assert parsed is not None
    new = Origin("api02.iq.questrade.com", 443)
    expected = Grant(
        "questrade",
        5,
        "login-1",
        "questrade/live",
        Secret("R-new"),
        Secret("A-new"),
        new,
        NOW.wall,
        NOW.wall + 1800,
        1800,
    )
    assert (expected, None) == (parsed.grant, parsed.refused_host)


@pytest.mark.parametrize("cut", range(len(BODY)))
def test_a_truncated_answer_yields_its_refresh_token_from_the_closing_quote_on(cut: int) -> None:
    """Before that it tells no token, and the answer counts as lost: the old one is never taken for good."""
    parsed = read_answer(BODY[:cut], BEFORE, TERMS, NOW)
    if cut < BODY.index(b"R-new") + len(b'R-new"'):
        assert parsed is None
    else:
        assert parsed is not None
        assert (Secret("R-new"), Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)
        assert "api02.iq.questrade.com" == str(parsed.grant.origin)


@pytest.mark.parametrize("body", [b'{"refresh_token": ""}', b'{"refresh_token": "", "expires_in": 9', b"{}", b"[]"])
def test_an_answer_without_any_token_is_none(body: bytes) -> None:
    """An empty one is no token."""
    assert None is read_answer(body, BEFORE, TERMS, NOW)


def test_a_refresh_token_that_is_no_text_leaves_the_old_one() -> None:
    """Half of a surrogate pair cannot be posted."""
    parsed = read_answer(b'{"refresh_token": "R\\ud800", "access_token": "A-new"}', BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (BEFORE.refresh_token, Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)


def test_where_nobody_ever_named_an_api_server_the_tokens_are_kept() -> None:
    """Nothing can be called with them, but nothing is lost."""
    parsed = read_answer(b'{"refresh_token": "R", "access_token": "A"}', replace(BEFORE, origin=None), TERMS, NOW)

    assert parsed is not None
    assert (Secret("R"), None) == (parsed.grant.refresh_token, parsed.grant.origin)


def test_a_token_that_can_be_renewed_lives_a_day_at_most() -> None:
    """Also where the answer leaves the old refresh token as it is; without one it lives as long as is said."""
    body = json.dumps({"access_token": "A-new", "expires_in": 10 * 86_400}).encode()
    lives = []
    for before in (BEFORE, replace(BEFORE, refresh_token=None)):
        parsed = read_answer(body, before, TERMS, NOW)
        assert parsed is not None
        lives.append(parsed.grant.life)

    assert [86_400.0, 864_000.0] == lives


def test_a_truncated_answer_in_another_order_keeps_what_came_whole() -> None:
    """The refresh token alone is enough."""
    parsed = read_answer(b'{"refresh_token" : "R\\u002fx" , "access_token": "A-n', BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (Secret("R/x"), None) == (parsed.grant.refresh_token, parsed.grant.access_token)
    assert (API, 300.0) == (parsed.grant.origin, parsed.grant.life)


@pytest.mark.parametrize(
    ("value", "life"),
    [
        (1800, 1800), (1799.5, 1799.5), ("300", 300), ("0000300", 300), (60, 60), (59, 60), (1, 60), ("1", 60),
        (1e9, 86400), (86401, 86400), ("999999999", 86400), (10**400, 300), (-(10**400), 300),
        (None, 300), (-1, 300), (0, 300), (-0.0, 300), (float("nan"), 300), (float("inf"), 300), (True, 300),
        (False, 300), ("abc", 300), ("", 300),
        ("-5", 300), ("1e3", 300), ("\u0661\u0662", 300), ("9" * 10, 300), ([], 300), ({}, 300),
    ],
)  # fmt: skip
def test_a_junk_life_becomes_300_seconds_and_a_sound_one_is_clamped(value: object, life: float) -> None:
    """To a minute at least and a day at most."""
    parsed = read_answer(json.dumps(FIELDS | {"expires_in": value}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (life, NOW.wall + life) == (parsed.grant.life, parsed.grant.expires)
    assert Secret("R-new") == parsed.grant.refresh_token


def test_a_missing_life_becomes_300_seconds() -> None:
    """Or the environment's least life, if that is more."""
    body = json.dumps({key: value for key, value in FIELDS.items() if key != "expires_in"}).encode()

    lives = [read_answer(body, BEFORE, replace(TERMS, min_life=least), NOW) for least in (60.0, 900.0)]
    assert [300, 900] == [parsed.grant.life for parsed in lives if parsed]


@pytest.mark.parametrize(
    ("text", "origin", "refused"),
    [
        ('"https://api02.iq.questrade.com"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com/"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com/v1"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com/v1/"', "api02.iq.questrade.com", None),
        (r'"https:\/\/api02.iq.questrade.com\/"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com.evil.example/"', None, "api02.iq.questrade.com.evil.example"),
        ('"https://user@api02.iq.questrade.com/"', None, "an unusable api_server"),
        ('""', None, "an unusable api_server"),
        ("17", None, "an unusable api_server"),
        ("null", "api01.iq.questrade.com", None),
    ],
)
def test_an_api_server_is_pinned_and_costs_no_token(text: str, origin: str | None, refused: str | None) -> None:
    """Refused: both tokens are kept, and there is no origin that a bearer could be sent to."""
    body = b'{"refresh_token": "R-new", "access_token": "A-new", "api_server": %s}' % text.encode()
    parsed = read_answer(body, BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (origin, refused) == (parsed.grant.origin and str(parsed.grant.origin), parsed.refused_host)
    assert (Secret("R-new"), Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)


def test_the_last_good_origin_is_pinned_too() -> None:
    """The definition may have changed since; without any origin there is no pair."""
    body = b'{"refresh_token": "R", "access_token": "A"}'
    moved = read_answer(body, replace(BEFORE, origin=Origin("old.example", 443)), TERMS, NOW)
    named = read_answer(body, replace(BEFORE, origin=None), replace(TERMS, api_server=API), NOW)

    assert moved is not None
    assert (None, None) == (moved.grant.origin, moved.grant.pair(NOW))
    assert named is not None
    assert API == named.grant.origin


def test_an_answer_without_a_refresh_token_keeps_the_old_one() -> None:
    """As RFC 6749 has it, if the answer is whole."""
    parsed = read_answer(b'{"access_token": "A-new"}', BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret("R-old") == parsed.grant.refresh_token


@pytest.mark.parametrize("token", [None, "", 5, True, [], ["R-list"], {"R": "dict"}])
def test_a_refresh_token_that_is_no_text_counts_as_none(token: object) -> None:
    """The old one stands, as it does without the field; and nothing raises."""
    parsed = read_answer(json.dumps(FIELDS | {"refresh_token": token}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret("R-old") == parsed.grant.refresh_token


def test_the_answer_s_own_refresh_token_counts_and_no_other_beside_it() -> None:
    """Salvage, which takes the first that it finds, is for bodies that broke off."""
    body = json.dumps({"asked": {"refresh_token": "R-asked", "access_token": "A-asked"}} | FIELDS).encode()
    parsed = read_answer(body, BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (Secret("R-new"), Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)


@pytest.mark.parametrize(
    "token", ["x" * 8000, "with space", "tab\t", "é", "\U0001f511", '"quoted"', "a\\b", "+/=", "\n"]
)
def test_an_odd_refresh_token_is_kept_as_it_is(token: str) -> None:
    """It goes into a form, where any text can; there is no second one."""
    parsed = read_answer(json.dumps(FIELDS | {"refresh_token": token}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret(token) == parsed.grant.refresh_token
    assert 64 == len(token_hash(Secret(token)))


@pytest.mark.parametrize("token", ["", "a b", "a\r\nHost: evil", "é", "x" * 5000, 7, None, ["A"], {"A": 1}])
def test_an_access_token_that_no_header_can_hold_is_not_served(token: object) -> None:
    """The refresh token beside it is kept."""
    parsed = read_answer(json.dumps(FIELDS | {"access_token": token}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (None, None) == (parsed.grant.access_token, parsed.grant.pair(NOW))
    assert Secret("R-new") == parsed.grant.refresh_token


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html>", b'"R"', b"{" * 5000, b"\xff\xfe", b'{"a":1'])
def test_a_body_without_a_token_is_no_answer(body: bytes) -> None:
    """The keeper then treats the answer as lost."""
    assert None is read_answer(body, BEFORE, TERMS, NOW)


@given(
    st.binary(max_size=300) | st.builds(lambda a, b: a + b, st.sampled_from([BODY, BODY[:90]]), st.binary(max_size=40))
)
def test_no_bytes_make_it_raise(body: bytes) -> None:
    """Whatever comes is a pair or nothing."""
    parsed = read_answer(body, BEFORE, TERMS, NOW)

    assert parsed is None or 5 == parsed.grant.generation


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda leaf: st.lists(leaf) | st.dictionaries(st.text(), leaf),
)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON))
def test_no_value_of_any_field_costs_the_refresh_token(changes: dict[str, object]) -> None:
    """I7, for any JSON in any field; and the record of it can be stored and read again."""
    changes.pop("refresh_token", None)
    parsed = read_answer(json.dumps(FIELDS | changes).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret("R-new") == parsed.grant.refresh_token
    record = json.loads(json.dumps(parsed.grant.to_record(), allow_nan=False))
    assert parsed.grant == Grant.from_record("questrade", 5, record)


def test_no_repr_shows_a_token() -> None:
    """Neither of a grant nor of its pair or its answer."""
    parsed = read_answer(BODY, BEFORE, TERMS, NOW)
    assert parsed is not None
    text = repr((BEFORE, parsed, parsed.grant.pair(NOW)))

    assert [] == [token for token in ("R-old", "A-old", "R-new", "A-new") if token in text]


PLAIN = Terms((HostPattern.parse("api.broker.example"),), 60.0, api_server=Origin("api.broker.example", 443))
NEW = Grant("tradier", 0, "login-1", "tradier/live", login="connect", logged_in=NOW.wall)


def parsed(fields: dict[str, object], terms: Terms = PLAIN, before: Grant = NEW) -> Grant:
    found = read_answer(json.dumps(fields).encode(), before, terms, NOW)
    assert found is not None
    return found.grant


def test_an_answer_as_tradier_gives_it_is_a_token_that_ends() -> None:
    """A day less a second, no refresh token, no token type, scopes between spaces."""
    body = {"access_token": "A", "expires_in": 86399, "issued_at": "2014-05-28", "scope": "read write trade market"}
    grant = parsed(body)

    assert (None, 86399, ("read", "write", "trade", "market")) == (grant.refresh_token, grant.life, grant.scopes)
    assert ("api.broker.example", NOW.wall, "connect") == (str(grant.origin), grant.logged_in, grant.login)


def test_an_answer_as_alpaca_connect_gives_it_has_no_end() -> None:
    """It says nothing of a life, and the definition says that there is none."""
    grant = parsed({"access_token": "A", "token_type": "bearer", "scope": "account:write trading"}, _endless())

    assert (math.inf, math.inf, ("account:write", "trading")) == (grant.life, grant.expires, grant.scopes)


def _endless() -> Terms:
    return replace(PLAIN, default_life=None)


def test_an_answer_that_names_an_end_has_one_whatever_the_definition_says() -> None:
    """What the broker says of this very token counts for more."""
    assert 500.0 == parsed({"access_token": "A", "expires_in": 500}, _endless()).life


@pytest.mark.parametrize(
    ("fields", "minting", "life"),
    [
        ({"refresh_token": "R"}, False, 86400.0),
        ({}, True, 86400.0),
        ({}, False, 90 * 86400.0),
        ({"expires_in": 1e12}, False, 3650 * 86400.0),
    ],
)
def test_only_a_token_that_can_be_renewed_is_held_to_a_day(
    fields: dict[str, object], life: float, *, minting: bool
) -> None:
    """A person would be asked to log in again for nothing."""
    whole = {"access_token": "A", "expires_in": 90 * 86400} | fields

    assert life == parsed(whole, replace(PLAIN, minting=minting)).life


@pytest.mark.parametrize("named", ["https://evil.example/", "https://api2.broker.example/", "junk", None, 7])
def test_an_api_server_in_an_answer_is_ignored_where_the_definition_names_it(named: object) -> None:
    """It is neither followed nor complained about."""
    body = json.dumps({"access_token": "A", "api_server": named}).encode()
    found = read_answer(body, NEW, PLAIN, NOW)

    assert found is not None
    assert ("api.broker.example", None) == (str(found.grant.origin), found.refused_host)


def test_a_minted_token_comes_without_a_refresh_token() -> None:
    """One that is there all the same is never posted; an answer with nothing else is none."""
    terms = replace(PLAIN, minting=True)

    assert None is parsed({"access_token": "A", "refresh_token": "R"}, terms).refresh_token
    assert None is read_answer(b'{"refresh_token": "R"}', NEW, terms, NOW)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("read write", ("read", "write")),
        ("read,write", ("read", "write")),
        ("read, write  trade", ("read", "write", "trade")),
        ("read read", ("read",)),
        ("", ()),
        ("\x1b[31mred read", ("read",)),
        ("x" * 101 + " read", ("read",)),
        (None, ("old",)),
        (["read"], ("old",)),
        (7, ("old",)),
    ],
)
def test_granted_scopes_are_read_between_spaces_or_commas(scope: object, expected: tuple[str, ...]) -> None:
    """They are shown to people: nothing that a terminal acts on. An answer without them changes none."""
    assert expected == parsed({"access_token": "A", "scope": scope}, before=replace(NEW, scopes=("old",))).scopes


def test_granted_scopes_have_a_limit() -> None:
    """An answer has 8 KiB, a status line has not."""
    assert 64 == len(parsed({"access_token": "A", "scope": " ".join(f"s{n}" for n in range(500))}).scopes)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error": "invalid_grant"}', "invalid_grant"),
        (
            '{"error": "invalid_request", "error_description": "code was used"}',
            "invalid_request: code was used",
        ),
        (
            '{"ErrorCode":"invalid_request","Error":"Invalid Authorization Code"}',
            "invalid_request: Invalid Authorization Code",
        ),
        (
            '{"error":"invalid_request","fields":[{"name":"client_id"},{"name":"scope"}]}',
            "invalid_request (client_id, scope)",
        ),
        ('{"code":40110000,"message":"invalid_client"}', "invalid_client"),
        ('{"error": 5, "message": ["x"], "fields": "x"}', ""),
        ('{"fields": [1, {}, {"name": 5}]}', ""),
        ('{"error": "\\u001b[31mred"}', ""),
        ('{"error": "two\\nlines"}', ""),
        ('{"error": "%s"}' % ("x" * 121), ""),
        ("[]", ""),
        ("", ""),
        ("<html>", ""),
    ],
)
def test_an_error_is_told_in_its_own_words_if_they_are_fit_to_be_shown(body: str, text: str) -> None:
    """RFC 6749's, Apigee's, authx's and a bare message; short, on one line, without control characters."""
    assert text == said(body.encode())


@given(st.binary(max_size=300) | st.builds(lambda fields: json.dumps(fields).encode(), JSON))
def test_whatever_an_error_says_is_one_short_printable_line(body: bytes) -> None:
    """Any bytes and any JSON."""
    text = said(body)

    assert text.isascii()
    assert text == "" or text.isprintable()
    assert len(text) < 1500


@pytest.mark.parametrize(
    ("secret", "parts", "expected"),
    [
        ("plain", 1, True), ("key:secret", 1, True), ("key:secret", 2, True), ("key:se:cret", 2, True),
        ("", 1, False), ("two words", 1, False), ("a\r\nb", 1, False), ("é", 1, False), ("x" * 4097, 1, False),
        ("a:b:c", 3, True), ("a:b", 3, False),
        ("key", 2, False), (":secret", 2, False), ("key:", 2, False), ("", 2, False), ("key:a b", 2, False),
    ],
)  # fmt: skip
def test_a_plain_secret_is_held_against_where_it_goes(secret: str, parts: int, *, expected: bool) -> None:
    """Each part must fit into a header."""
    assert expected is sendable(Secret(secret), parts)


def test_terms_are_read_off_a_definition() -> None:
    """Of the login, its environment and its broker; the API server is that of the first API that it serves."""
    questrade = builtin("questrade")
    terms = Terms.of(questrade, questrade.environments["live"], questrade.login())
    assert (True, 3 * 86400.0, False, None) == (
        terms.api_server_in_answer,
        terms.refresh_token_life,
        terms.minting,
        terms.api_server,
    )

    servers = {"main": API, "data": Origin("data.example", 443)}
    environment = replace(questrade.environments["live"], api_servers=servers)
    login = Login("x", "client-credentials", apis=("data",), expires_in=None, renew_at=0.8)
    terms = Terms.of(questrade, environment, login)
    assert ("data.example", True, None, 0.8) == (
        str(terms.api_server),
        terms.minting,
        terms.default_life,
        terms.renew_at,
    )


@pytest.mark.parametrize(
    "changes",
    [{}, {"scopes": ("data", "trading")}, {"access_token": None}, {"refresh_token": Secret('a \u00e9 "quoted" one')}],
    ids=["plain", "with scopes", "refresh token only", "odd token"],
)
def test_a_grant_as_an_answer_is_read_as_that_grant(changes: dict[str, Any]) -> None:
    """What goes back into a journal comes out of it the same."""
    whole = Grant(
        "questrade", 5, "login-1", "questrade/live", Secret("R"), Secret("A"), API, NOW.wall, NOW.wall + 1800, 1800
    )
    grant = replace(whole, **changes)
    before = Grant("questrade", 4, "login-1", "questrade/live")
    parsed = read_answer(as_answer(grant), before, TERMS, NOW)

    assert parsed is not None
    assert (grant, None) == (parsed.grant, parsed.refused_host)
