"""Questrade's faults: what each is called and hits, and the answers of those that touch nothing else.

`(refused)`: the request was not processed, tokens and orders are as before. `(done)`: it was, and what fails is the
answer: the refresh token is spent, the order is kept.
"""

from proxy.simulator import streams
from proxy.simulator.faults import Fault, Faults
from proxy.simulator.front import BROKEN
from proxy.simulator.listener import HTML, TEXT, Answer
from proxy.simulator.questrade.answers import BAD_REQUEST, ERRORS, MAINTENANCE, USER_AGENT_BLOCKED

TOKEN, API, ORDER = "token", "api", "order"

_TOKEN = {
    "token-400-text": "400 with the text `Bad Request` (refused)",
    "token-invalid-grant": '400 {"error": "invalid_grant"} (refused)',
    "token-403": "403 page (refused)",
    "token-429": "429 with Retry-After: 1 (refused)",
    "token-500": "500 page (refused)",
    "token-503-html-maintenance": "503, `We're making some changes` (refused)",
    "token-html-200": "200 with the maintenance page (refused)",
    "token-hang": "never answers (refused)",
    "token-drop-before": "connection reset (refused)",
    "token-slow": "answers after some seconds (done)",
    "token-drop-after": "connection reset instead of an answer (done)",
    "token-empty-200": "200 without a body (done)",
    "token-truncated": "the answer ends before the new refresh token does (done)",
    "token-truncated-late": "the answer ends after the new refresh token (done)",
    "token-junk-expires": '"expires_in": "soon" (done)',
    "token-no-api-server": "no api_server in the answer (done)",
    "token-foreign-api-server": "api_server is a host that is not Questrade's (done)",
}
_API = {
    "api-401-1017": "401, code 1017 (refused)",
    "api-403-1016": "403, code 1016 (refused)",
    "api-429": "429, code 1006, with the rate limit headers (refused)",
    "api-500": "500, code 1021 (refused)",
    "api-hang": "never answers (refused)",
    **BROKEN,
    "api-slow": "answers after some seconds (done)",
    "api-truncated": "half of the answer, then the end of the connection (done)",
}
_BOTH = {
    "user-agent-block": "403 page, as for a User-Agent that is blocked (refused)",
    "maintenance": "503, `We're making some changes` (refused)",
}
_ORDER = {"order-200-error": "200 with code 3054 (refused: no order is kept or changed)"}


def catalogue() -> Faults:
    """All faults of Questrade, none armed."""
    groups = (
        (_TOKEN, {TOKEN}, "token endpoint"),
        (_API, {API}, "any API call"),
        (_BOTH, {TOKEN, API}, "token endpoint and any API call"),
        (_ORDER, {ORDER}, "calls that place, change or cancel orders"),
    )
    own = [
        Fault(name, frozenset(places), f"{where}: {what}")
        for texts, places, where in groups
        for name, what in texts.items()
    ]
    return Faults([*own, *streams.FAULTS])


# Answers of faults that keep a request from being processed.
REFUSALS = {
    "token-400-text": BAD_REQUEST,
    "token-invalid-grant": Answer(400, b'{"error":"invalid_grant"}'),
    "token-403": USER_AGENT_BLOCKED,
    "token-429": Answer(429, b"Too Many Requests", TEXT, {"Retry-After": "1"}),
    "token-500": Answer(500, b"<html><body><h1>Internal Server Error</h1></body></html>", HTML),
    "token-503-html-maintenance": MAINTENANCE,
    "token-html-200": Answer(200, MAINTENANCE.body, HTML),
    "api-401-1017": ERRORS[1017],
    "api-403-1016": ERRORS[1016],
    "api-500": ERRORS[1021],
    "user-agent-block": USER_AGENT_BLOCKED,
    "maintenance": MAINTENANCE,
}
