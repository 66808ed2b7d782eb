"""Questrade's definition: every row is allowed by its own call, and by nothing near it."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import builtin
from proxy.errors import Refusal
from proxy.gate.scopes import Match, Row
from proxy.gate.target import parse

HERE = Path(__file__).parent
# The public scope table, written down a second time: id, method, path, deciding query, scope, rate, flags.
TABLE = list(csv.DictReader((HERE / "questrade_rows.csv").read_text(encoding="utf-8").splitlines()))
TRICKS: list[str] = json.loads((HERE.parent / "gate" / "tricks.json").read_text(encoding="utf-8"))
QUESTRADE = builtin("questrade")
ROWS = QUESTRADE.table.rows
SAMPLES = {"account": "26598145", "order": "11000042", "symbol": "38738"}
FORMS = {"account": "[0-9]{8}", "order": "[0-9]{1,18}", "symbol": "[0-9]{1,10}"}

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def _path(row: Row) -> str:
    return row.path.format(**SAMPLES)


def _query(row: Row) -> str:
    fields = [*row.when_query, *((name, values[-1]) for name, values in row.enum)]
    return "&".join(f"{name}={value}" for name, value in fields)


def _decide(method: str, raw: str, mount: str | None = "questrade") -> Match | str:
    """The match, or the name of the refusal."""
    try:
        target = parse(raw.encode("latin-1"), mount=mount)
    except Refusal as refusal:
        return refusal.kind.name
    found = QUESTRADE.table.match(method, target)
    if isinstance(found, Match):
        return found
    return "ambiguous-target" if found.ambiguous else "scope-denied"


def _in_table(method: str, raw: str) -> bool:
    """Whether the committed table has this call: written without any code of the gate."""
    path, _, query = raw.partition("?")
    for line in TABLE:
        form = re.sub(r"\{(\w+)\}", lambda name: FORMS[name[1]], line["path"])
        if line["method"] == method and re.fullmatch(form, path, re.ASCII) and line["when"] in ("", query):
            return True
    return False


def test_the_rows_are_those_of_the_public_table() -> None:
    """All 29 rows agree with the committed table in path, scope, rate category and flags."""
    rows = [
        {
            "id": row.id,
            "method": row.method,
            "path": row.path,
            "when": "&".join(f"{name}={value}" for name, value in row.when_query),
            "scope": row.scope,
            "rate": row.rate or "",
            "mutating": "yes" if row.mutating else "",
            "streaming": "yes" if row.streaming else "",
            "inferred": "yes" if row.inferred else "",
        }
        for row in ROWS
    ]
    assert 29 == len(rows)
    assert TABLE == rows


@each_row
@pytest.mark.parametrize(
    "junk", ["", "False=False", "startTime=2026-01-01T00%3A00%3A00%2B00%3A00&ids=1%2C2", "a;b=c&&="]
)
@pytest.mark.parametrize("mount", ["/questrade", "/questrade/", "", "/"])
def test_each_row_takes_its_own_call(row: Row, junk: str, mount: str) -> None:
    """The call that a row describes is allowed, whatever else its query holds, and is sent byte for byte."""
    query = "&".join(part for part in (junk, _query(row)) if part)
    raw = _path(row) + ("?" + query if query else "")
    target = parse((mount + raw).encode(), mount=None if mount.startswith("/q") else "questrade")
    found = QUESTRADE.table.match(row.method, target)
    assert isinstance(found, Match)
    assert row == found.row
    assert raw.encode() == target.sent
    assert [(name, SAMPLES[name].encode()) for name in row.captures] == list(found.captures)


def _near(row: Row) -> Iterator[tuple[str, str]]:
    """Calls that differ from the row's own in one respect."""
    path, query = _path(row), _query(row)
    asked = f"?{query}" if query else ""
    segments = path[1:].split("/")
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", row.method.lower()):
        if method != row.method:
            yield method, path + asked
    yield row.method, f"{path}/extra{asked}"
    yield row.method, f"/extra{path}{asked}"
    yield row.method, f"{path}x{asked}"
    yield row.method, f"{path}/{asked}"
    yield row.method, f"{path},1{asked}"
    yield row.method, f"{path}.json{asked}"
    yield row.method, path.replace("/v1/", "/v2/") + asked
    yield row.method, path.replace("/v1/", "/V1/") + asked
    yield row.method, path.replace("/v1/", "/") + asked
    for place, segment in enumerate(segments):
        without = [*segments[:place], *segments[place + 1 :]]
        yield row.method, "/" + "/".join(without) + asked
        changed = (
            [
                "abc",
                "1e3",
                "-1",
                "+1",
                "1.0",
                "0x1F",
                "*",
                "~",
                segment + "a",
                segment + "%30",
                "9" * 19,
                "\xb2",
                "impact2",
            ]
            if segment.isdigit()
            else [segment.upper(), segment.title(), segment[:-1], segment + "s", f"%{ord(segment[0]):02X}{segment[1:]}"]
        )
        for other in changed:
            if other != segment:
                yield row.method, "/" + "/".join([*segments[:place], other, *segments[place + 1 :]]) + asked
    for name, _ in row.when_query:
        for other in (f"{name}=false", f"{name}", f"{name.title()}=true", f"{name}=True", f"{name}=true&{name}=true"):
            yield row.method, f"{path}?{other}"
    for name, values in row.enum:
        deciding = "".join(f"{key}={value}&" for key, value in row.when_query)
        for other in (values[0].upper(), values[0] + "x", "", f"{values[0]}&{name}={values[1]}"):
            yield row.method, f"{path}?{deciding}{name}={other}"
    for name in row.query_without:
        yield row.method, f"{path}?{name}=true"
        yield row.method, f"{path}?{name.upper()}=true"


@each_row
def test_near_misses_of_each_row_are_refused(row: Row) -> None:
    """Another method, case, length, digit or query value is refused, unless it is the call of another row."""
    misses = [(method, raw) for method, raw in dict.fromkeys(_near(row)) if not _in_table(method, raw)]
    assert 5 <= len(misses)
    assert [] == [miss for miss in misses if isinstance(_decide(*miss), Match)]


def _tricked(row: Row, trick: str) -> Iterator[str]:
    path = _path(row)
    cuts = [place for place, char in enumerate(path) if char == "/" and place] if "{head}" in trick else [len(path)]
    for cut in cuts:
        yield trick.format(path=path, head=path[:cut], last=path[cut + 1 :])


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_refused_on_every_row(trick: str) -> None:
    """Dot segments, encodings, parameters and foreign forms reach no row, at any place of any path."""
    for row in ROWS:
        for raw in _tricked(row, trick):
            for mount in (None, "questrade"):
                whole = "/questrade" + raw if mount is None and raw.startswith("/") else raw
                found = _decide(row.method, whole, mount)
                # One doubled slash after the mount is the mount's own: it is never sent.
                own = raw == "/" + _path(row)
                assert own == isinstance(found, Match), (row.id, whole)
                assert own or found in ("ambiguous-target", "scope-denied", "unknown-mount")


def test_the_tricks_make_thousands_of_targets() -> None:
    """The corpus over all rows and places is at least 5,000 different raw targets."""
    targets = {raw for row in ROWS for trick in TRICKS for raw in _tricked(row, trick)}
    assert 5000 <= len(targets)


AMBIGUOUS = [
    "/v1/accounts/", "/v1/accounts%2F", "/v1/%61ccounts", "/v1/accounts/../time", "/v1/accounts//time",
    "/v1/accounts;x=1",
    "/v1/accounts%00", "/v1/accounts/26598145/orders/%37", "/v1/accounts\\", "/v1/time%20",
    "/v1/time?_method=DELETE", "/v1/time%",
]  # fmt: skip
WRONG = [
    "/v1/accoutns/26598145/activities", "/v1/Accounts", "/v1/accounts/2659814/orders", "/v1/markets/quotes/1,2",
    "/v1/quotes",
    "/v1/accounts/26598145/order/7", "/v1/symbols/searches", "/", "/v1", "/oauth2/token", "/v1/accounts@evil.test",
    "/v1/orders",
]  # fmt: skip


@pytest.mark.parametrize("raw", AMBIGUOUS)
def test_a_bad_form_is_ambiguous(raw: str) -> None:
    """What could be read in two ways is 400 and never 403."""
    assert "ambiguous-target" == _decide("GET", raw)


@pytest.mark.parametrize("raw", WRONG)
def test_a_clear_target_without_a_row_is_denied(raw: str) -> None:
    """A well-formed target with a wrong value is 403."""
    assert "scope-denied" == _decide("GET", raw)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/oauth2/token", "/oauth2/authorize", "/oauth2/revoke", "/oauth2/token/", "/OAuth2/Token"]
)
def test_no_row_reaches_the_token_endpoints(method: str, path: str) -> None:
    """No client gets at tokens through us."""
    assert not isinstance(_decide(method, path), Match)


_PIECES = st.sampled_from([
    "v1", "accounts", "26598145", "orders", "11000042", "impact", "symbols", "search", "38738", "markets", "quotes",
    "options",
    "candles", "time", "/", "/", "/", "//", ".", "..", "%2F", "%2e", ";", ":", "@", "+", "x", "%", "?", "&", "=",
    "stream",
    "stream=true", "Stream=true", "mode", "mode=WebSocket", "stateFilter=Open", "%26", "ids=1%2C2",
])  # fmt: skip


@given(pieces=st.lists(_PIECES, max_size=12), method=st.sampled_from(["GET", "POST", "DELETE", "HEAD"]))
def test_what_matches_is_in_the_table_and_sent_as_it_is(pieces: list[str], method: str) -> None:
    """For any mix of pieces: a refusal, or exactly the bytes of a call that the committed table has."""
    raw = "/v1/" + "".join(pieces)
    found = _decide(method, raw)
    if isinstance(found, Match):
        path = raw.partition("?")[0]
        line = next(line for line in TABLE if line["id"] == found.row.id)
        form = re.sub(r"\{(\w+)\}", lambda name: FORMS[name[1]], line["path"])
        assert method == line["method"]
        assert re.fullmatch(form, path, re.ASCII)
        assert raw.encode() == parse(raw.encode(), mount="questrade").sent
        # Only the stream's row lets a call through whose query anybody could read as one.
        if line["path"] == "/v1/markets/quotes" and line["method"] == "GET":
            assert ("stream=true" in raw) == (line["when"] == "stream=true")


def test_streams_can_be_opened_by_their_own_rows_only() -> None:
    """The other calls of markets take neither `stream` in the query nor, where there is one, in the body."""
    closed = {row.id: (row.query_without, row.body_without) for row in ROWS if row.query_without}
    posts = (("stream",), ("stream", "mode"))
    assert {"quote": (("stream",), ()), "quotes_options": posts, "quotes_strategies": posts} == closed
    assert {"quotes_stream", "notifications"} == {row.id for row in ROWS if row.streaming}


def test_the_environments_are_the_documented_ones() -> None:
    """Live names its API hosts; practice has none, so an answer's host is refused until the user lists it."""
    live, practice = QUESTRADE.environments["live"], QUESTRADE.environments["practice"]
    assert "https://login.questrade.com/oauth2/token" == live.token_url
    assert "https://login.questrade.com/oauth2/revoke" == live.revoke_url
    assert ["api##.iq.questrade.com"] == [host.text for host in live.api_hosts]
    assert "https://practicelogin.questrade.com/oauth2/token" == practice.token_url
    assert () == practice.api_hosts
    assert (frozenset(), frozenset()) == (live.private_hosts, practice.private_hosts)
    assert (60.0, 120.0, 200) == (live.min_life, live.renew_cooldown, live.max_rotations_per_day)


def test_the_rules_of_custody_are_set() -> None:
    """Questrade kills the old access token, its refusals prove that nothing happened, refresh tokens live 3 days."""
    assert QUESTRADE.kills_old_token
    assert QUESTRADE.refusal_proves_nonexecution
    assert 3 * 24 * 3600 == QUESTRADE.refresh_token_life
    assert "paste" == QUESTRADE.login
    assert "/oauth2/token" == QUESTRADE.emulated_token_path
    assert (30, 30_000) == (QUESTRADE.rate_limits["account"].per_second, QUESTRADE.rate_limits["account"].per_hour)
    assert (20, 15_000) == (QUESTRADE.rate_limits["market"].per_second, QUESTRADE.rate_limits["market"].per_hour)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"Bad Request", "dead_token"),
        (400, b"Bad Request\r\n", "dead_token"),
        (400, b'{"Bad Request": "Token is invalid or expired."}', "dead_token"),
        (400, b'{"error":"invalid_grant"}', "dead_token"),
        (400, b'{"error":"invalid_client"}', "misconfigured"),
        (401, b'{"error":"invalid_client","error_description":"x"}', "misconfigured"),
        (400, b'{"error":"unsupported_grant_type"}', "misconfigured"),
        (200, b"<html>We're making some changes</html>", "try_later"),
        (503, b"Bad Request", "try_later"),
        (500, b"", "try_later"),
        (429, b'{"code":1006}', "try_later"),
        (403, b"Forbidden", None),
        (403, b"Bad Request", None),
        (400, b"<html>Bad Request</html>", None),
        (400, b"", None),
        (400, b'{"error":"server_error"}', None),
        (404, b"Bad Request", None),
        (200, b'{"access_token":"x"}', None),
    ],
)
def test_answers_of_the_token_endpoint_are_told_apart(status: int, body: bytes, kind: str | None) -> None:
    """Only the known answers mean a dead token; a blocked User-Agent's 403 and unknown 400s do not."""
    kinds = [
        name
        for name in ("dead_token", "misconfigured", "try_later")
        if any(rule.matches(status, "text/plain", body) for rule in getattr(QUESTRADE, name))
    ]
    assert ([kind] if kind else []) == kinds


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"code":1017,"message":"Access token is invalid"}', "token_refused"),
        (401, b'{"code":"1017","message":"Access token is invalid"}', "token_refused"),
        (401, b'{"code":1014,"message":"Missing authorization header"}', "header_missing"),
        (401, b"", None),
        (401, b'{"code":10170}', None),
        (401, b'[{"code":1017}]', None),
        (403, b'{"code":1016}', None),
        (200, b'{"code":1017}', None),
    ],
)
def test_a_refused_token_is_told_from_other_401s(status: int, body: bytes, kind: str | None) -> None:
    """Only 401 with code 1017 renews; 1014 is our own mistake."""
    kinds = [
        name
        for name in ("token_refused", "header_missing")
        if any(rule.matches(status, None, body) for rule in getattr(QUESTRADE, name))
    ]
    assert ([kind] if kind else []) == kinds
