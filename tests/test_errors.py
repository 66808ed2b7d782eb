"""Refusals: their table, and how one is rendered."""

import json
import re

import pytest

from proxy.errors import KINDS, PROBLEM_BASE, Refusal, render


def test_each_kind_has_a_code_of_its_own_status() -> None:
    """Status x 100 and a number of ours; the code names one kind and no other."""
    codes = [kind.code for kind in KINDS.values()]
    assert len(set(codes)) == len(codes)
    for kind in KINDS.values():
        assert 400 <= kind.status <= 599
        assert 0 < kind.code - kind.status * 100 < 100
        assert re.fullmatch(r"[a-z][a-z0-9-]+", kind.name)


@pytest.mark.parametrize(
    ("name", "code"),
    [("ambiguous-target", 40001), ("unknown-client", 40101), ("scope-denied", 40301), ("outcome-unknown", 50001)],
)
def test_codes_do_not_change(name: str, code: int) -> None:
    """SDKs and people's programs compare them."""
    assert code == Refusal(name, "x").kind.code


def test_a_refusal_says_all_that_it_knows() -> None:
    """RFC 9457 for people and tools, `code` and `message` for SDKs, and headers that tell us from the broker."""
    refusal = Refusal("scope-denied", "No.", fix="add trade", extra={"scope": "trade"})
    rendered = render(refusal, request_id="r1", mount="questrade", client="bot")

    assert 403 == rendered.status
    assert {
        "type": PROBLEM_BASE + "scope-denied", "title": "No allowed scope covers this call", "status": 403,
        "detail": "No.", "code": 40301, "message": "No.", "request_id": "r1", "mount": "questrade", "client": "bot",
        "fix": "add trade", "scope": "trade",
    } == json.loads(rendered.body)  # fmt: skip
    headers = dict(rendered.headers)
    assert 'bearerd; error=http_request_denied; details="scope-denied"' == headers["Proxy-Status"]
    assert ("application/problem+json", "no-store", "nosniff", "r1") == tuple(
        headers[name] for name in ("Content-Type", "Cache-Control", "X-Content-Type-Options", "X-Request-Id")
    )
    assert not {"Retry-After", "WWW-Authenticate", "Connection"} & headers.keys()


def test_what_is_not_known_is_left_out() -> None:
    """No mount, client or fix: no such member."""
    assert not {"mount", "client", "fix"} & json.loads(render(Refusal("draining", "x"), request_id="r").body).keys()


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.4, "2"), (5, "5"), (59.6, "60")])
def test_retry_after_is_a_whole_second_at_least(seconds: float, header: str) -> None:
    """0 would ask for a storm, and a second too few would be one too many calls."""
    assert header == dict(render(Refusal("paced", "x", retry_after=seconds), request_id="r").headers)["Retry-After"]


def test_a_401_offers_bearer_and_never_basic() -> None:
    """A browser would ask for Basic, cache it and send it with every page's request."""
    assert (
        'Bearer realm="bearerd"'
        == dict(render(Refusal("unknown-client", "x"), request_id="r").headers)["WWW-Authenticate"]
    )


def test_close_closes() -> None:
    """For requests after which the next one could not be told from the last."""
    assert "close" == dict(render(Refusal("slow-request", "x", close=True), request_id="r").headers)["Connection"]


@pytest.mark.parametrize(("name", "status"), [("no-such", None), ("broker-unreachable", None), ("paced", 503)])
def test_a_name_must_mean_one_kind(name: str, status: int | None) -> None:
    """A mistake of ours, found by the first test that gets there."""
    with pytest.raises(LookupError, match="names"):
        Refusal(name, "x", status=status)


def test_one_name_may_have_two_statuses() -> None:
    """Reads and orders are told different things about an unreachable broker."""
    assert [502, 503] == [Refusal("broker-unreachable", "x", status=status).kind.status for status in (502, 503)]
