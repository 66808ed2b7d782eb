"""A definition's text → `Broker`. All mistakes at once; with any, what comes out must not be used.

`logins`, `environments` and `tables` read the parts with those names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.brokers.definition import AnswerRule, Api, Broker, Environment, Login
from proxy.brokers.environments import Frame, read_environments
from proxy.brokers.logins import matching, read_logins
from proxy.brokers.ordering import read_forms
from proxy.brokers.rates import read_rate_headers, read_rates
from proxy.brokers.section import Section
from proxy.brokers.tables import Vocabulary, api_names, check_own_endpoints, extend_apis, read_apis

_ANSWERS = ("dead_token", "misconfigured", "try_later", "token_refused", "header_missing")
_FLAGS = ("api_server_in_answer", "kills_old_token", "refusal_proves_nonexecution")
_EXTENSION = ("environments", "scopes", "params", "rows", "apis", "orders")
_DEFINITION = (
    "title", "logins", *_EXTENSION, *_FLAGS, *_ANSWERS, "rate_limits", "rate_headers",
    "emulated_token_path", "partner_oauth", "add_headers", "user_agent", "account_params",
)  # fmt: skip
_PARTNER_CALLS = ("client", "token", "authorize", "revoke")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+", re.ASCII)
_HEADER = re.compile(r"[a-z0-9-]+", re.ASCII)
_USER_AGENT = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?", re.ASCII)
# Ours to write, whoever asks: a definition may add harmless headers, and no way around the stripping of these.
_RESERVED_HEADERS = re.compile(
    r"authorization|cookie2?|host|content-length|connection|upgrade|te|trailer|transfer-encoding|keep-alive|expect|range"
    r"|location|via|forwarded|user-agent|x-request-id|x-api-key|x-http-method.*|x-method-override"
    r"|x-forwarded-.*|x-original-.*|x-rewrite-.*|apca-.*|proxy-.*|sec-.*|access-control-.*"
)


def read_broker(section: Section, name: str, base: Path) -> Broker | None:
    """A whole definition. `base` is where a relative `ca_file` starts. None if it is too broken to go on."""
    section.known(_DEFINITION)
    section.needs("title", "scopes", "logins", "environments", "params")
    before = len(section.problems)
    _check_names(section)
    for key in ("logins", "apis"):
        if section.data.get(key) == {}:
            section.fault(key, "is empty", "name at least one")
    scopes, names = section.text_map("scopes"), api_names(section)
    fields: dict[str, Any] = {key: section.flag(key) or False for key in _FLAGS} | {
        "logins": read_logins(section, names, scopes),
        "rate_limits": read_rates(section),
        "rate_headers": read_rate_headers(section),
        "emulated_token_path": matching(section, "emulated_token_path", _PATH, "a path such as /oauth2/token"),
        "partner_oauth": section.text_map("partner_oauth"),
        "add_headers": _headers(section),
        "orders": read_forms(section),
        "account_params": section.texts("account_params"),
        "user_agent": matching(section, "user_agent", _USER_AGENT, "1 to 256 printable ASCII characters"),
    }  # fmt: skip
    _check_headers(section, fields["add_headers"], fields["logins"])
    fields |= {key: tuple(_rule(part) for part in section.listed(key)) for key in _ANSWERS}
    if any(login.kind in ("refresh-token", "code") for login in fields["logins"].values()):
        section.needs("dead_token")
    frame = Frame(names, fields["logins"], fields["api_server_in_answer"], base, fields["rate_limits"])
    environments = read_environments(section, frame)
    words = Vocabulary(scopes, fields["rate_limits"], fields["orders"], fields["account_params"])
    apis = read_apis(section, words)
    if apis is None or len(section.problems) > before:
        return None
    broker = Broker(name, section.text("title") or name, scopes, environments, apis, **fields)
    _check_partner(section, broker)
    check_own_endpoints(section, apis, environments, broker.emulated_token_path)
    return broker


def extend(section: Section, broker: Broker, base: Path) -> Broker:
    """A built-in broker with what the user adds to it: environments, rows, and the scopes, types and orders that those
    need.

    An environment that exists keeps what the user does not name; `api_hosts` are added to its own.
    """
    section.known(_EXTENSION)
    for key in _DEFINITION:
        if key in section.data and key not in _EXTENSION:
            section.fault(key, "is fixed for a built-in broker", "define a broker under a name of its own", at_key=True)
    _check_names(section)
    frame = Frame(tuple(broker.apis), broker.logins, broker.api_server_in_answer, base, broker.rate_limits)
    environments: Mapping[str, Environment] = read_environments(section, frame, broker.environments)
    scopes = {**broker.scopes, **section.text_map("scopes")}
    orders = {**read_forms(section), **broker.orders}
    found = extend_apis(section, Vocabulary(scopes, broker.rate_limits, orders, broker.account_params), broker.apis)
    apis: Mapping[str, Api] = found or broker.apis
    check_own_endpoints(section, apis, environments, broker.emulated_token_path)
    return replace(broker, scopes=scopes, environments=environments, apis=apis, orders=orders)


def _check_names(section: Section) -> None:
    """Mounts and grants name these, in the configuration's own form."""
    for key in ("apis", "logins", "environments"):
        part = section.section(key)
        for name in part.data:
            if not _NAME.fullmatch(name):
                part.fault(name, f"'{name}' is no name", "use lower-case letters, digits and `-`", at_key=True)


def _check_partner(section: Section, broker: Broker) -> None:
    part = section.section("partner_oauth")
    part.known(_PARTNER_CALLS)
    rows = {row.id for api in broker.apis.values() for row in api.table.rows}
    for call, row in broker.partner_oauth.items():
        if row not in rows:
            part.fault(call, f"there is no row '{row}'", "name the row by its id")


def _headers(section: Section) -> tuple[str, ...]:
    names = section.texts("add_headers")
    for index, name in enumerate(names):
        if not _HEADER.fullmatch(name) or _RESERVED_HEADERS.fullmatch(name):
            problem = section.document.problem(
                (*section.path, "add_headers", index),
                "is no header that may be added",
                "lower case, and none that carries credentials, hosts or framing",
            )
            section.problems.append(problem)
    return names


def _check_headers(section: Section, names: Sequence[str], logins: Mapping[str, Login]) -> None:
    """Where any login has its credential, a client puts none."""
    placements = [login.placement for login in logins.values() if login.placement.kind == "headers"]
    placed = {name.lower() for placement in placements for name in placement.names}
    for index, name in enumerate(names):
        if name in placed:
            path = (*section.path, "add_headers", index)
            section.problems.append(section.document.problem(path, "carries a login's credential", "remove it"))


def _rule(section: Section) -> AnswerRule:
    section.known(("status", "text", "contains", "json"))
    members = section.section("json").data
    for key, value in members.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            section.section("json").fault(key, "must be text or a whole number")
    rule = AnswerRule(section.whole("status"), section.text("text"), section.text("contains"), tuple(members.items()))
    if rule == AnswerRule():
        section.fault(None, "says nothing about the answer", "give it a status, text, contains or json")
    return rule
