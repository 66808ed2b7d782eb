import pytest

from proxy.brokers.definition import AnswerRule

JSON = b'{"error": "invalid_grant", "code": 7, "flag": true, "deep": {"error": "x"}}'


@pytest.mark.parametrize(
    ("rule", "status", "body", "expected"),
    [
        (AnswerRule(), 400, b"", False),
        (AnswerRule(status=400), 400, b"x", True),
        (AnswerRule(status=400), 401, b"x", False),
        (AnswerRule(text="Bad Request"), 500, b" Bad Request\n", True),
        (AnswerRule(text="Bad Request"), 400, b"Bad Request!", False),
        (AnswerRule(text="Bad Request"), 400, b"bad request", False),
        (AnswerRule(contains="Request"), 400, b"Bad Request!", True),
        (AnswerRule(contains="Request", status=401), 400, b"Bad Request!", False),
        (AnswerRule(contains="nope"), 400, b"Bad Request!", False),
        (AnswerRule(json=(("error", "invalid_grant"),)), 400, JSON, True),
        (AnswerRule(json=(("error", "invalid_grant"), ("code", 7))), 400, JSON, True),
        (AnswerRule(json=(("code", "7"),)), 400, JSON, True),
        (AnswerRule(json=(("code", 8),)), 400, JSON, False),
        (AnswerRule(json=(("flag", "True"),)), 400, JSON, False),
        (AnswerRule(json=(("missing", "None"),)), 400, JSON, False),
        (AnswerRule(json=(("error", "x"),)), 400, JSON, False),
        (AnswerRule(json=(("error", "x"),)), 400, b"not json", False),
        (AnswerRule(json=(("error", "x"),)), 400, b"[" * 100_000, False),
        (AnswerRule(json=(("error", "x"),)), 400, b'"error"', False),
        (AnswerRule(text="\ufffd"), 400, b"\xff", True),
    ],
)
def test_a_rule_holds_if_all_its_parts_do(rule: AnswerRule, status: int, body: bytes, *, expected: bool) -> None:
    """Status, text and top-level members must all fit; a rule without parts fits nothing, and no body raises."""
    assert expected == rule.matches(status, "application/json", body)
