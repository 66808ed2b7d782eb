"""How many calls a broker allows, and the headers that tell what is left."""

import pytest

from proxy.brokers import builtin
from proxy.brokers.definition import Rate, RateHeaders
from tests.brokers.plain import PLAIN, extend_text, good, spoilt

HEADERS = "rate_headers: {limit: X-Limit, remaining: X-Left, used: X-Used, reset: X-Reset, tells_of: per_second}\n"
LIVE = "    api_server: https://api.plain.test\n"


def test_the_headers_are_named_in_any_letter_case() -> None:
    """And kept in lower case; without them nothing is told."""
    headers = RateHeaders("x-limit", "x-left", "x-used", "x-reset", "per_second")
    assert headers == good(PLAIN.replace("add_headers", f"{HEADERS}add_headers")).rate_headers
    assert good().rate_headers is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("rate_headers: {limit: X-Limit, reset: X-Reset}", "rate_headers: does not say what is left, name the header"),
        ("rate_headers: {remaining: X Left}", "rate_headers.remaining: is no header that could tell this"),
        ("rate_headers: {remaining: Date}", "rate_headers.remaining: is no header that could tell this"),
        ("rate_headers: {left: X-Left}", "rate_headers.left: unknown key 'left'"),
        ("rate_headers: {remaining: X-Left, tells_of: hour}", "rate_headers.tells_of: is not one of per_second"),
        ("rate_headers: X-Left", "rate_headers: must be a mapping, not text"),
        ("rate_headers:", "rate_headers: does not say what is left"),
    ],
    ids=["nothing left", "no name", "a name with a meaning", "unknown key", "no period", "no mapping", "empty"],
)
def test_headers_that_make_no_sense_are_told(wrong: str, said: str) -> None:
    """With their place."""
    problems = spoilt("add_headers", f"{wrong}\nadd_headers")
    assert any(said in problem for problem in problems), problems


def test_a_rate_of_nothing_is_a_mistake() -> None:
    """Nothing would ever pass."""
    for nothing in ("0", "0.0004"):
        problems = spoilt("per_second: 2.5", f"per_second: {nothing}")
        assert any("would let nothing through" in problem for problem in problems), nothing


def test_an_environment_has_rates_of_its_own() -> None:
    """Of the broker's categories, those that differ; or none at all."""
    own = good(PLAIN.replace(LIVE, LIVE + "    rate_limits: {calls: {per_hour: 7}}\n")).environments["live"]
    assert ({"calls": Rate(per_hour=7)}, True) == (own.rate_limits, own.paced)
    unpaced = good(PLAIN.replace(LIVE, LIVE + "    rate_limits: none\n")).environments["live"]
    assert ({}, False) == (unpaced.rate_limits, unpaced.paced)
    plain = good().environments["live"]
    assert ({}, True) == (plain.rate_limits, plain.paced)
    problems = spoilt(LIVE, LIVE + "    rate_limits: {cals: {per_hour: 7}}\n")
    assert any("there is no rate 'cals', did you mean 'calls'?" in problem for problem in problems), problems


def test_an_environment_of_a_built_in_broker_can_be_told_that_it_counts_nothing() -> None:
    """And keeps all else; what is not named stays."""
    broker, problems = extend_text("environments: {live: {rate_limits: none}}")
    assert [] == problems
    assert not broker.environments["live"].paced
    assert builtin("questrade").environments["live"].api_hosts == broker.environments["live"].api_hosts
    tradier, problems = extend_text("environments: {sandbox: {min_life: 30}}", "tradier")
    assert [] == problems
    assert Rate(per_minute=60) == tradier.environments["sandbox"].rate_limits["market"]


def test_the_built_in_brokers_say_it_as_documented() -> None:
    """Questrade tells of the hour alone, Tradier and Alpaca of their minute."""
    told = {name: builtin(name).rate_headers for name in ("questrade", "tradier", "alpaca")}
    assert {
        "questrade": RateHeaders(None, "x-ratelimit-remaining", None, "x-ratelimit-reset", "per_hour"),
        "tradier": RateHeaders(
            "x-ratelimit-allowed", "x-ratelimit-available", "x-ratelimit-used", "x-ratelimit-expiry"
        ),
        "alpaca": RateHeaders("x-ratelimit-limit", "x-ratelimit-remaining", None, "x-ratelimit-reset"),
    } == told
