"""Questrade's error table and the pages that stand in front of its API."""

import json

from proxy.simulator.listener import HTML, TEXT, Answer

_ERRORS = {
    1001: (404, "Invalid endpoint"),
    1002: (400, "Invalid or malformed argument"),
    1003: (400, "Argument length exceeds imposed limit"),
    1004: (400, "Missing required argument"),
    1005: (413, "Request length exceeds imposed limit"),
    1006: (429, "Rate limit exceeded"),
    1012: (405, "Method unsupported by endpoint (e.g., GET vs. POST)"),
    1013: (400, "Requesting anything other than 'application/json'"),
    1014: (401, "Missing authorization header"),
    1015: (400, "Malformed authorization header"),
    1016: (403, "Request is out-of-allowed OAuth scopes"),
    1017: (401, "Access token is invalid"),
    1018: (404, "Account number not found"),
    1019: (404, "Symbol not found"),
    1020: (404, "Order not found"),
    1021: (500, "Unexpected error"),
}


class Mistake(Exception):
    """A call that Questrade answers with `{"code": …, "message": …}`; `code` is a row of its error table."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def encoded(document: object) -> bytes:
    """JSON without blanks, as Questrade writes it."""
    return json.dumps(document, separators=(",", ":")).encode()


def error_body(code: int) -> dict[str, object]:
    return {"code": code, "message": _ERRORS[code][1]}


# Made once: a storm of 401s must not cost more than the calls themselves.
ERRORS = {code: Answer(status, encoded(error_body(code))) for code, (status, _) in _ERRORS.items()}

BAD_REQUEST = Answer(400, b"Bad Request", TEXT)
USER_AGENT_BLOCKED = Answer(
    403, b"<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>", HTML
)
MAINTENANCE = Answer(
    503,
    b"<!DOCTYPE html><html><head><title>Questrade</title></head><body><h1>We're making some changes</h1>"
    b"<p>Our systems are down for maintenance. Please try again later.</p></body></html>",
    HTML,
)


def user_agent_blocked(user_agent: str | None) -> bool:
    """Whether the firewall before both hosts turns this User-Agent away: none, or that of Python's urllib."""
    return not user_agent or user_agent.startswith("Python-urllib")
