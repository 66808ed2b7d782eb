"""The hosts and addresses of a broker's environments."""

import pytest

from proxy.brokers import Endpoints
from tests.brokers.plain import PLAIN, extend_text, good, read_text, spoilt

SEVERAL = """\
title: Several
scopes: {read: Read}
logins:
  code: {kind: code, apis: [one]}
  minted: {kind: client-credentials, client_auth: form, apis: [two]}
  plain: {kind: secret}
environments:
  live:
    token_url: https://login.test/token
    login_page: https://login.test/
    logins:
      code: {authorize_url: https://login.test/authorize, authorize_fields: {env: live}}
      minted: {token_url: https://mint.test/token}
    api_servers: {one: https://one.test, two: "https://two.test:8443"}
    api_hosts: ["three.test"]
  half:
    token_url: https://login.test/token
    api_servers: {two: https://two.half.test}
dead_token: [{status: 400}]
params: {}
apis:
  one: {rows: [{id: a, method: GET, path: /a, scope: read}]}
  two: {rows: [{id: b, method: GET, path: /b, scope: read}]}
"""


def test_each_login_has_its_own_addresses_or_those_of_all() -> None:
    """What an environment says is for every login, what stands below the login's name goes before."""
    live = good(SEVERAL).environments["live"]
    token, page = "https://login.test/token", "https://login.test/"
    assert {
        "code": Endpoints(token, None, "https://login.test/authorize", None, page, (("env", "live"),)),
        "minted": Endpoints("https://mint.test/token", login_page=page),
        "plain": Endpoints(login_page=page),
    } == live.logins


def test_an_environment_has_the_logins_that_it_has_addresses_and_apis_for() -> None:
    """No authorize address, no code flow; no API that takes the credential, no login."""
    assert ["minted", "plain"] == list(good(SEVERAL).environments["half"].logins)
    servers = "    api_servers: {two: https://two.half.test}"
    assert servers in SEVERAL
    addressed = SEVERAL.replace(servers, f"    authorize_url: https://login.test/authorize\n{servers}")
    assert ["minted", "plain"] == list(good(addressed).environments["half"].logins)
    both = addressed.replace("{two: https://two.half.test}", "{one: https://one.test, two: https://two.half.test}")
    assert ["code", "minted", "plain"] == list(good(both).environments["half"].logins)


def test_the_hosts_of_its_apis_are_hosts_that_a_bearer_may_go_to() -> None:
    """Those of api_servers need no second line; a port that is written out counts."""
    live = good(SEVERAL).environments["live"]
    assert ["one.test", "two.test:8443"] == [str(origin) for origin in live.api_servers.values()]
    assert ["three.test", "one.test", "two.test:8443"] == [host.text for host in live.api_hosts]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("login.plain.test/token", "me@login.plain.test/token", ":6:16: environments.live.token_url: must be"),
        ("login.plain.test/token", "login.plain.test/token?x", ":6:16: environments.live.token_url: must be"),
        ("login.plain.test/token", "login.plain.test:65536/token", "environments.live.token_url: has no valid port"),
        ("login.plain.test/token", "login.plain.test:0/token", ":6:16: environments.live.token_url: has no valid port"),
        ("    authorize_url: https://login.plain.test/authorize\n", "", ":5:3: environments.live.authorize_url: is"),
        ("    api_server: https://api.plain.test\n", "", ":5:3: environments.live.api_server: is missing"),
        ("api_server: https://api.plain.test", "api_server: api.plain.test", ":8:17: environments.live.api_server: is"),
        ("api_server: https://api.plain.test", "api_server: https://a.test/v2", ":8:17: environments.live.api_server:"),
        ("api_server: https://api.plain.test", "api_server: https://a.test/v1", "live.api_server: is no address of"),
        ("api_server: https://api.plain.test", "api_server: https://a.test/v1/", "live.api_server: is no address of"),
        ("api_server: https://api.plain.test", "api_server: https://a..test", "live.api_server: is no address of"),
        ("api_server: https://api.plain.test", "api_server: https://a.test.", "live.api_server: is no address of"),
        ("api_server: https://api.plain.test", 'api_server: "https://[::::]"', "live.api_server: is no address of"),
        ("    api_server", "    api_hosts: [api.plain.*]\n    api_server", ":8:17: environments.live.api_hosts.0: "),
        ("    api_server", "    ca_file: ~nobody/x\n    api_server", ":8:14: environments.live.ca_file: must be"),
        ("    api_server", "    max_life: 3\n    api_server", ":8:5: environments.live.max_life: unknown key"),
        ("    api_server", "    min_life: 1h\n    api_server", ":8:15: environments.live.min_life: must be a number"),
        ("    api_server", "    max_rotations_per_day: 1.5\n    api_server", ":8:28: environments.live.max_rotations"),
        ("    api_server", "    token_concurrency: 0\n    api_server", ":8:24: environments.live.token_concurrency:"),
        ("    api_server:", "    api_servers: {mian: https://x.test}\n    api_server:", ":8:19: environments.live."),
        ("    api_server", "    logins: {cod: {}}\n    api_server", ":8:14: environments.live.logins.cod: there is"),
        ("    api_server", "    logins: {code: {x: y}}\n    api_server", ":8:21: environments.live.logins.code.x:"),
        ("    api_server", "    authorize_fields: {a b: c}\n    api_server", "authorize_fields.a b: is no name of a p"),
        ("    api_server", "    authorize_fields: {state: x}\n    api_server", "authorize_fields.state: is no name of"),
        ("    api_server", "    login_page: www.test\n    api_server", ":8:17: environments.live.login_page: must"),
    ],
)  # fmt: skip
def test_each_mistake_in_an_environment_is_named_once_with_its_place(right: str, wrong: str, said: str) -> None:
    """A wrong environment is an error with path, line, column and what to do."""
    problems = spoilt(right, wrong)
    assert any(said in problem for problem in problems), problems
    assert len(problems) == len(set(problems))


@pytest.mark.parametrize(
    "name", ["State", "CLIENT_ID", "redirect_uri", "response_type", "scope", "nonce", "code_challenge_method"]
)
def test_what_binds_a_login_to_its_answer_is_not_a_definitions_to_write(name: str) -> None:
    """In no spelling: servers differ in which of two they read."""
    problems = spoilt("    api_server", f"    authorize_fields: {{{name}: x}}\n    api_server")
    assert any(f"authorize_fields.{name}: is no name of" in problem for problem in problems), problems


def test_several_apis_have_an_address_each() -> None:
    """One `api_server` for all would say nothing of which."""
    text = SEVERAL.replace("api_servers: {two: https://two.half.test}", "api_server: https://two.half.test")
    _, problems = read_text(text)
    assert any(
        "half.api_server: there are several APIs, write api_servers: {one: https://…}" in each for each in problems
    )
    text = SEVERAL.replace("    api_servers: {two: https://two.half.test}\n", "")
    assert any("environments.half.api_servers: is missing" in each for each in read_text(text)[1])


def test_where_answers_name_the_api_an_environment_may_leave_it_out() -> None:
    """As Questrade does; an address that is given is then what an answer without one means."""
    text = PLAIN.replace("    api_server: https://api.plain.test\n", "    api_hosts: [api.plain.test]\n")
    broker = good(text + "api_server_in_answer: true\n")
    assert {} == broker.environments["live"].api_servers
    assert ["code"] == list(broker.environments["live"].logins)


def test_a_user_gives_a_built_in_login_its_address() -> None:
    """Tradier's sandbox gets its code flow, and everything else stays."""
    broker, problems = extend_text(
        "environments: {sandbox: {logins: {code: {token_url: https://s.test/t, authorize_url: https://s.test/a}}}}",
        "tradier",
    )
    assert [] == problems
    sandbox = broker.environments["sandbox"]
    assert {"personal", "code"} == sandbox.logins.keys()
    assert "https://dash.tradier.com/settings/api" == sandbox.endpoints(broker.login()).login_page
    assert ["sandbox.tradier.com", "sandbox-ws.tradier.com"] == [str(each) for each in sandbox.api_servers.values()]


def test_a_user_names_another_address_for_refreshing() -> None:
    """One key of one login changes; its other addresses are the built-in ones."""
    broker, problems = extend_text("environments: {live: {refresh_url: https://api.tradier.com/v1/other}}", "tradier")
    assert [] == problems
    endpoints = broker.environments["live"].endpoints(broker.login("code"))
    assert "https://api.tradier.com/v1/other" == endpoints.refresh_url
    assert "https://api.tradier.com/v1/oauth/accesstoken" == endpoints.token_url


def test_a_name_leads_to_a_private_address_only_where_it_is_listed() -> None:
    """One by one, by name: what a user adds for a lab says nothing about the hosts that were there before."""
    broker, problems = extend_text("environments: {live: {private_hosts: [simulator, lab.internal]}}")
    assert [] == problems
    assert frozenset({"simulator", "lab.internal"}) == broker.environments["live"].private_hosts
    assert frozenset() == broker.environments["practice"].private_hosts


@pytest.mark.parametrize("name", ["", "lab:9443", "*.internal", "Lab", "a_b", "-a", "https://lab"])
def test_what_is_no_name_is_no_private_host(name: str) -> None:
    """A pattern or an address has no place there."""
    _, problems = extend_text(f'environments: {{live: {{private_hosts: ["{name}"]}}}}')
    assert 1 == len(problems)
    assert "is no host name" in problems[0] or "empty" in problems[0], problems
