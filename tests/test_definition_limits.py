"""What no definition of one's own can do: the list in `docs/brokers.md`, tried."""

import re
from pathlib import Path

import pytest

from proxy.brokers import catalogue
from proxy.config import Problem, parse_yaml

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "brokers.md").read_text()
BLOCKS: list[str] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def _block(name: str) -> str:
    return next(block for block in BLOCKS if block.startswith(f"brokers:\n  {name}:\n"))


BROWSER, PAIR, QUERY, BUILT_IN = map(_block, ("browser-desk", "pair-desk", "query-desk", "questrade"))
TOKEN_ROW = "- {id: t, method: POST, path: /oauth/token, scope: read}\n      - {id: accounts, method: GET"
ACCOUNTS = "- {id: accounts, method: GET"

LIMITS = [
    # to hosts that it does not name, or without verified TLS
    (BROWSER, "api_server: https://", "api_server: http://", "is no address of an API server"),
    (BROWSER, "token_url: https://", "token_url: http://", "must be an https:// address"),
    (BROWSER, "authorize_url: https://", "authorize_url: http://", "must be an https:// address"),
    (BROWSER, "https://api.desk.example", "https://api.desk.example@evil.example", "is no address of an API server"),
    (BROWSER, "        token_url:", "        verify: false\n        token_url:", "unknown key 'verify'"),
    (BROWSER, "        token_url:", "        api_hosts: ['*.example']\n        token_url:", "is no host"),
    (BROWSER, "        token_url:", "        api_hosts: ['*']\n        token_url:", "is no host"),
    # calls that nothing takes, or that could be read in two ways
    (BROWSER, "path: /v1/accounts", 'path: "/v1/{any}"', "any"),
    (BROWSER, "path: /v1/accounts", "path: /v1/../accounts", "path has an empty segment, `.` or `..`"),
    (BROWSER, "params: {}", 'params: {a: ".*"}', "is no type"),
    (BROWSER, "params: {}", 'params: {a: "[^x]"}', "is no type"),
    (BROWSER, "method: GET", "method: ANY", "is none of GET, HEAD"),
    (BROWSER, "scope: read}", "scope: all}", "no such scope is declared"),
    # where tokens are handed out
    (BROWSER, ACCOUNTS, TOKEN_ROW, "where tokens are handed out"),
    (BROWSER, ACCOUNTS, TOKEN_ROW.replace("/oauth/token", "/OAuth/Token/"), "where tokens are handed out"),
    # a client's own credentials, and framing
    (PAIR, "    params: {}", "    add_headers: [authorization]\n    params: {}", "is no header that may be added"),
    (PAIR, "    params: {}", "    add_headers: [cookie]\n    params: {}", "is no header that may be added"),
    (PAIR, "    params: {}", "    add_headers: [x-api-key]\n    params: {}", "is no header that may be added"),
    (PAIR, "    params: {}", "    add_headers: [x-forwarded-host]\n    params: {}", "is no header that may be added"),
    (PAIR, "X-Desk-Secret", "Host", "is no header that may carry a credential"),
    (PAIR, "X-Desk-Secret", "Cookie", "is no header that may carry a credential"),
    (PAIR, "X-Desk-Secret", "Content-Length", "is no header that may carry a credential"),
    (PAIR, "X-Desk-Secret", "'X: y'", "is no header that may carry a credential"),
    (QUERY, "query: api_key", "query: 'a&b'", "is no name of a parameter"),
    (QUERY, "{query: api_key}", "{query: api_key, headers: [X-Key]}", "must name either headers or one query"),
    # a built-in broker
    (BUILT_IN, "    params:", "    kills_old_token: false\n    params:", "is fixed for a built-in broker"),
    (BUILT_IN, "    params:", "    refusal_proves_nonexecution: true\n    params:", "is fixed for a built-in broker"),
    (BUILT_IN, "    params:", "    add_headers: [x-a]\n    params:", "is fixed for a built-in broker"),
    (BUILT_IN, "/v1/watchlists/{watchlist}", "/v1/accounts", "row watchlist: |overlaps"),
    (BUILT_IN, 'watchlist: "[0-9]', 'account: "[0-9]', "is a type of the built-in broker"),
]  # fmt: skip


def _problems(text: str) -> list[Problem]:
    document = parse_yaml(text, "own.yaml")
    return [*document.problems, *catalogue(document.part(("brokers",)))[1]]


@pytest.mark.parametrize(("block", "old", "new", "expected"), LIMITS, ids=range(len(LIMITS)))
def test_a_definition_cannot_take_a_check_away(block: str, old: str, new: str, expected: str) -> None:
    """Sound as the block is, with one change it is refused, and the message says which."""
    assert [] == _problems(block)
    assert old in block
    found = [problem.text for problem in _problems(block.replace(old, new, 1))]

    assert any(re.search(expected, text) for text in found), found
