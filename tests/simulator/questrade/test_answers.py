"""The error table."""

import pytest

from proxy.simulator.questrade.answers import ERRORS, encoded, user_agent_blocked


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        (1001, 404, "Invalid endpoint"),
        (1003, 400, "Argument length exceeds imposed limit"),
        (1006, 429, "Rate limit exceeded"),
        (1014, 401, "Missing authorization header"),
        (1015, 400, "Malformed authorization header"),
        (1016, 403, "Request is out-of-allowed OAuth scopes"),
        (1017, 401, "Access token is invalid"),
    ],
)
def test_errors_are_those_of_the_documentation(code: int, status: int, message: str) -> None:
    """Status and body of an error, code as an integer, no full stop."""
    answer = ERRORS[code]

    assert status == answer.status
    assert encoded({"code": code, "message": message}) == answer.body
    assert "application/json; charset=utf-8" == answer.content_type


@pytest.mark.parametrize(
    ("agent", "blocked"),
    [
        (None, True),
        ("", True),
        ("Python-urllib/3.11", True),
        ("Mozilla", False),
        ("python-requests/2.32", False),
        ("bearerd/1.0", False),
    ],
)
def test_user_agents_that_the_firewall_turns_away(agent: str | None, blocked: bool) -> None:
    """urllib's own and none at all; all others pass."""
    assert blocked == user_agent_blocked(agent)
