"""A YAML file → `Setup`, with every mistake at once, each with its line and column."""

import json
from pathlib import Path
from typing import Any, get_args

from proxy.brokers.definition import MAIN, ClientAuth, LoginKind, Placement
from proxy.brokers.section import Section
from proxy.config.document import parse_yaml
from proxy.config.problem import ConfigInvalid, Problem
from proxy.simulator.authorize import CODE_LIFE
from proxy.simulator.listener import JSON, TEXT, Answer
from proxy.simulator.plain.setup import BAD_CLIENT, DEAD_TOKEN, UNAUTHORIZED, Call, Endpoint, Refresh, Setup

_SETUP = ("name", "title", "apis", "accounts", "login", "placement", "refused", "calls")
_LOGIN = (
    "name", "kind", "secret", "authorize", "token", "client_auth", "client_id", "client_secret", "redirect_uris",
    "pkce", "scopes", "code_life", "expires_in", "refresh", "refresh_token_life", "life_counts_from", "answer",
    "redirect", "dead_token", "bad_client",
)  # fmt: skip
_ANSWER = ("status", "json", "text", "headers")
_CALL = ("method", "path", "order", *_ANSWER)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def read_setup(file: Path) -> Setup:
    """The broker that `file` describes. `ConfigInvalid` with all its mistakes; OSError if it cannot be read. Blocks."""
    document = parse_yaml(file.read_text(encoding="utf-8"), file.name)
    problems: list[Problem] = list(document.problems)
    # Without data the text was no YAML: then everything else would seem to be missing.
    setup = _setup(Section(document, (), problems)) if document.data or not problems else None
    if setup is None or problems:
        raise ConfigInvalid(problems, file.name, document)
    return setup


def _setup(section: Section) -> Setup:
    section.known(_SETUP)
    section.needs("name", "login", "calls")
    name, login = section.text("name") or "", section.section("login")
    kind = _login_kind(login)
    placement = _placement(section)
    secret = login.texts("secret")
    if login.data.get("kind") == "secret" and len(secret) != placement.parts:
        login.fault("secret", f"must be a list of {placement.parts}, as the placement has it")
    return Setup(
        name=name,
        title=section.text("title") or name,
        kind=kind,
        login=login.text("name") or MAIN,
        calls=tuple(_call(part) for part in section.listed("calls")),
        apis=section.texts("apis"),
        accounts=section.texts("accounts"),
        placement=placement,
        endpoint=None if kind == "secret" else _endpoint(login, kind),
        secret=secret,
        refused=_said(section, "refused", UNAUTHORIZED),
    )


def _login_kind(login: Section) -> LoginKind:
    login.known(_LOGIN)
    login.needs("kind")
    found = login.choice("kind", get_args(LoginKind))
    return next((kind for kind in get_args(LoginKind) if kind == found), "secret")


def _placement(section: Section) -> Placement:
    """`bearer`, `basic`, `{headers: [NAME, …]}` or `{query: NAME}`, as a definition has it."""
    if not isinstance(section.data.get("placement"), dict):
        kind = section.choice("placement", ("bearer", "basic"))
        return Placement("basic" if kind == "basic" else "bearer")
    part = section.section("placement")
    part.known(("headers", "query"))
    if "query" in part.data:
        return Placement("query", (part.text("query") or "",))
    return Placement("headers", part.texts("headers"))


def _endpoint(login: Section, kind: LoginKind) -> Endpoint:
    login.needs("token", *(("authorize", "client_id", "redirect_uris") if kind == "code" else ()))
    fields: dict[str, Any] = {
        "token": login.text("token") or "/token",
        "authorize": login.text("authorize") or "",
        "client_auth": login.choice("client_auth", get_args(ClientAuth)) or "none",
        "client_id": login.text("client_id") or "",
        "client_secret": login.text("client_secret") or "",
        "redirect_uris": login.texts("redirect_uris"),
        "pkce": login.flag("pkce") or False,
        "scopes": login.texts("scopes"),
        "code_life": login.number("code_life") or CODE_LIFE,
        "expires_in": _life(login, "expires_in", 300.0),
        "refresh": login.choice("refresh", get_args(Refresh)) or "none",
        "refresh_token_life": _life(login, "refresh_token_life", None),
        "life_counts_from": login.choice("life_counts_from", ("issue", "login")) or "issue",
        "answer": dict(login.section("answer").data),
        "redirect": login.text_map("redirect"),
        "dead_token": _said(login, "dead_token", DEAD_TOKEN),
        "bad_client": _said(login, "bad_client", BAD_CLIENT),
    }
    return Endpoint(**fields)


def _life(section: Section, key: str, default: float | None) -> float | None:
    """Seconds, or `never`."""
    if section.data.get(key) == "never":
        return None
    found = section.number(key)
    return default if found is None else found


def _call(section: Section) -> Call:
    section.known(_CALL)
    section.needs("method", "path")
    method = section.choice("method", _METHODS) or "GET"
    path = section.text("path") or "/"
    if not path.startswith("/"):
        section.fault("path", "must start with `/`")
    return Call(method, path, _answer(section), order=section.flag("order") or False)


def _said(section: Section, key: str, default: Answer) -> Answer:
    """The answer below `key`, if there is one."""
    part = section.section(key)
    part.known(_ANSWER)
    return _answer(part) if part.data else default


def _answer(section: Section) -> Answer:
    """`status`, headers, and a body as `json` or `text`."""
    body, kind = (section.text("text") or "").encode(), TEXT
    if "json" in section.data:
        body, kind = json.dumps(section.data["json"], separators=(",", ":")).encode(), JSON
    return Answer(section.whole("status") or 200, body, kind, section.text_map("headers"))
