"""A plain definition to spoil, and what reading one, or adding to Questrade's, tells."""

from pathlib import Path

from proxy.brokers import Broker, builtin
from proxy.brokers.reading import extend, read_broker
from proxy.brokers.section import Section
from proxy.config import Problem, parse_yaml

PLAIN = """\
title: Plain OAuth 2
scopes: {read: Read, write: Write}
logins: {code: {kind: code, client_auth: basic, expires_in: 3600, refresh_token_life: 86400}}
environments:
  live:
    token_url: https://login.plain.test/token
    authorize_url: https://login.plain.test/authorize
    api_server: https://api.plain.test
dead_token: [{json: {error: invalid_grant}}]
rate_limits: {calls: {per_second: 2.5, per_minute: 100}}
add_headers: [idempotency-key]
user_agent: plain/1.0
params: {account: "[0-9]{8}", symbol: "[A-Z][A-Z.]{0,9}"}
rows:
  - {id: a, method: GET, path: "/v1/{account}", scope: read, rate: calls, query: [x], max_body: 5}
  - {id: b, method: POST, path: "/v1/{account}", scope: write, mutating: true, body_without: [y]}
  - {id: c, method: GET, path: /v1/s, scope: read, when_query: {on: "true"}, enum: {m: [p, q]}, streaming: true}
"""


def read_text(text: str, base: Path = Path("/etc/bearerd")) -> tuple[Broker | None, list[str]]:
    """The broker that a definition makes, and every problem."""
    problems: list[Problem] = []
    document = parse_yaml(text, "plain.yaml")
    broker = read_broker(Section(document, (), problems), "plain", base)
    return broker, [str(problem) for problem in [*document.problems, *problems]]


def good(text: str = PLAIN) -> Broker:
    """A definition without a mistake."""
    broker, problems = read_text(text)
    assert [] == problems
    assert broker is not None
    return broker


def spoilt(right: str, wrong: str) -> list[str]:
    """What is said if one part of the plain definition is another one, without the word `error`."""
    assert right in PLAIN
    _, problems = read_text(PLAIN.replace(right, wrong, 1))
    assert all(problem.startswith("plain.yaml") for problem in problems)
    return [problem.replace("error: ", "", 1) for problem in problems]


def extend_text(text: str, name: str = "questrade") -> tuple[Broker, list[str]]:
    """A built-in broker with what a user adds, and every problem."""
    problems: list[Problem] = []
    document = parse_yaml(text, "config.yaml")
    broker = extend(Section(document, (), problems), builtin(name), Path("/etc/bearerd"))
    return broker, [str(problem).replace("error: ", "", 1) for problem in [*document.problems, *problems]]
