"""A definition's text → `Broker`. All mistakes at once; with any, what comes out must not be used."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.brokers.definition import AnswerRule, Broker, Environment, Login, Rate
from proxy.brokers.origin import HostPattern, Origin, pinned, read_api_server
from proxy.brokers.section import Section
from proxy.config.problem import did_you_mean
from proxy.gate import patterns
from proxy.gate.rows import METHODS
from proxy.gate.scopes import Row, ScopeTable, TableError

_ANSWERS = ("dead_token", "misconfigured", "try_later", "token_refused", "header_missing")
_EXTENSION = ("environments", "scopes", "params", "rows")
_DEFINITION = (
    "title", "login", *_EXTENSION, "kills_old_token", "refresh_token_life", "expires_in", *_ANSWERS,
    "refusal_proves_nonexecution", "rate_limits", "emulated_token_path", "add_headers", "user_agent",
)  # fmt: skip
_ENVIRONMENT = (
    "token_url", "authorize_url", "revoke_url", "login_page", "api_hosts", "api_server", "ca_file",
    "private_hosts", "min_life", "renew_cooldown", "max_rotations_per_day",
)  # fmt: skip
_ROW = (
    "id", "method", "path", "scope", "mutating", "streaming", "rate", "when_query", "enum", "query",
    "query_without", "body_without", "max_body", "inferred",
)  # fmt: skip

# https, a host without a user name in front, maybe a port, and a path without anything that needs decoding.
_URL = re.compile(
    r"https://(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9._~/-]*)", re.ASCII
)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+", re.ASCII)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_FILE = re.compile(r"(?:~/|(?!~))[^\0]+")
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
    section.needs("title", "scopes", "environments", "params", "rows", "refresh_token_life", "dead_token")
    before = len(section.problems)
    login: Login = "code" if section.choice("login", ("paste", "code")) == "code" else "paste"
    environments = {key: _environment(part, key, login, None, base) for key, part in section.named("environments")}
    fields: dict[str, Any] = {
        "refresh_token_life": section.number("refresh_token_life") or 0.0,
        "login": login,
        "kills_old_token": section.flag("kills_old_token") or False,
        "expires_in": section.number("expires_in") or 300.0,
        "refusal_proves_nonexecution": section.flag("refusal_proves_nonexecution") or False,
        "rate_limits": {key: _rate(part) for key, part in section.named("rate_limits")},
        "emulated_token_path": _matching(section, "emulated_token_path", _PATH, "a path such as /oauth2/token"),
        "add_headers": _headers(section),
        "user_agent": _matching(section, "user_agent", _USER_AGENT, "1 to 256 printable ASCII characters"),
    } | {key: tuple(_rule(part) for part in section.listed(key)) for key in _ANSWERS}
    scopes = section.text_map("scopes")
    table = _table(section, ScopeTable((), {}), scopes, fields["rate_limits"])
    if table is None or len(section.problems) > before:
        return None
    broker = Broker(name, section.text("title") or name, scopes, _whole(environments), table, **fields)
    _check_own_endpoints(section, broker)
    return broker


def extend(section: Section, broker: Broker, base: Path) -> Broker:
    """A built-in broker with what the user adds to it: environments, rows, and the scopes and types that those need.

    An environment that exists keeps what the user does not name; `api_hosts` are added to its own.
    """
    section.known(_EXTENSION)
    for key in _DEFINITION:
        if key in section.data and key not in _EXTENSION:
            section.fault(key, "is fixed for a built-in broker", "define a broker under a name of its own", at_key=True)
    added = {
        name: _environment(part, name, broker.login, broker.environments.get(name), base)
        for name, part in section.named("environments")
    }
    scopes = {**broker.scopes, **section.text_map("scopes")}
    table = _table(section, broker.table, scopes, broker.rate_limits)
    environments = {**broker.environments, **_whole(added)}
    extended = replace(broker, scopes=scopes, environments=environments, table=table or broker.table)
    _check_own_endpoints(section, extended)
    return extended


def _whole(environments: Mapping[str, Environment | None]) -> dict[str, Environment]:
    return {name: environment for name, environment in environments.items() if environment}


def _environment(
    section: Section, name: str, login: Login, known: Environment | None, base: Path
) -> Environment | None:
    section.known(_ENVIRONMENT)
    if known is None:
        section.needs("token_url", *(["authorize_url"] if login == "code" else []))
    urls = {key: _url(section, key) for key in ("token_url", "authorize_url", "revoke_url", "login_page")}
    times = {key: section.number(key) for key in ("min_life", "renew_cooldown")}
    ca_file = _matching(section, "ca_file", _FILE, "a path, absolute, from `~/`, or from this file's directory")
    given: dict[str, Any] = urls | times | {
        "max_rotations_per_day": section.whole("max_rotations_per_day"),
        "ca_file": None if ca_file is None else str(base / Path(ca_file).expanduser()),
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None}
    if known is None and "token_url" not in given:
        return None
    found = replace(known, **given) if known else Environment(name, **given)
    hosts = tuple(dict.fromkeys([*found.api_hosts, *_hosts(section)]))
    private = found.private_hosts.union(_private_hosts(section))
    return replace(found, api_hosts=hosts, api_server=_api_server(section, found, hosts), private_hosts=private)


def _url(section: Section, key: str) -> str | None:
    value = _matching(section, key, _URL, "an https:// address with a path, without user name, `?` and `#`")
    found = _URL.fullmatch(value or "")
    if found and found["port"] and not 0 < int(found["port"]) < 1 << 16:
        section.fault(key, "has no valid port", "write a number from 1 to 65535")
    return value


def _matching(section: Section, key: str, form: re.Pattern[str], name: str) -> str | None:
    value = section.text(key)
    if value is not None and not form.fullmatch(value):
        section.fault(key, f"must be {name}")
        return None
    return value


def _private_hosts(section: Section) -> Iterator[str]:
    for index, text in enumerate(section.texts("private_hosts")):
        if _NAME.fullmatch(text):
            yield text
        else:
            message = f"{text!r} is no host name: lower-case letters, digits, '.' and '-', without a port"
            section.problems.append(section.document.problem((*section.path, "private_hosts", index), message))


def _hosts(section: Section) -> list[HostPattern]:
    hosts = []
    for index, text in enumerate(section.texts("api_hosts")):
        try:
            hosts.append(HostPattern.parse(text))
        except ValueError as error:
            section.problems.append(section.document.problem((*section.path, "api_hosts", index), str(error)))
    return hosts


def _api_server(section: Section, found: Environment, hosts: Sequence[HostPattern]) -> Origin | None:
    text = section.text("api_server")
    if text is None:
        return found.api_server
    origin = read_api_server(text)
    if origin is None:
        section.fault("api_server", "is no address of an API server", "write https://HOST or https://HOST:PORT")
    elif not pinned(origin, hosts):
        section.fault("api_server", "is not among api_hosts", "list its host there")
    return origin


def _rate(section: Section) -> Rate:
    section.known(("per_second", "per_hour"))
    return Rate(section.number("per_second"), section.number("per_hour"))


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


def _table(
    section: Section, built_in: ScopeTable, scopes: Mapping[str, str], rates: Mapping[str, Rate]
) -> ScopeTable | None:
    """The built-in rows and those of this section, as one table."""
    types = section.section("params")
    added = section.text_map("params")
    for name in added.keys() & built_in.params.keys():
        types.fault(name, "is a type of the built-in broker", "use another name", at_key=True)
    bad = {name for name, text in added.items() if not _is_type(types, name, text)}
    read = [(row, part) for part in section.listed("rows") if (row := _row(part, scopes, rates))]
    places = {row.id: part for row, part in read}
    # A row with a bad type has been told of by its type.
    sound = [row for row, _ in read if not bad & set(row.captures)]
    whole = [*built_in.rows, *sound]
    known = {**added, **built_in.params}
    problems = ScopeTable.faults(whole, known)
    for problem in problems:
        place = places.get(problem.row) or section
        place.fault("path" if problem.row in places else "rows", f"row {problem}")
    if problems:
        return None
    # A built-in row's scope and flags are not the user's to change.
    for loser, row in built_in.losing_to(sound, known):
        places[row.id].fault("path", f"row {row.id}: it would take calls of the built-in row {loser.id}", "remove it")
    return ScopeTable(whole, known)


def _is_type(section: Section, name: str, text: str) -> bool:
    try:
        patterns.read(text)
    except patterns.PatternError as error:
        section.fault(name, f"is no type: {error}")
        return False
    return True


def _row(section: Section, scopes: Mapping[str, str], rates: Mapping[str, Rate]) -> Row | None:
    section.known(_ROW)
    section.needs("id", "method", "path", "scope")
    for key, names in (("scope", scopes), ("rate", rates)):
        value = section.text(key)
        if value is not None and value not in names:
            known = f"known here: {', '.join(names) or 'none'}"
            section.fault(key, f"no such {key} is declared", did_you_mean(value, names) or known)
    enums = section.section("enum")
    fields: dict[str, Any] = {key: section.text(key) or "" for key in ("id", "method", "path", "scope")}
    fields |= {key: section.flag(key) or False for key in ("mutating", "streaming", "inferred")}
    fields |= {key: section.texts(key) for key in ("query", "query_without", "body_without")}
    fields |= {
        "rate": section.text("rate"),
        "max_body": section.whole("max_body"),
        "when_query": tuple(section.text_map("when_query").items()),
        "enum": tuple((name, enums.texts(name)) for name in enums.data),
    }
    if not all(fields[key] for key in ("id", "method", "path", "scope")):
        return None
    try:
        return Row(**fields)
    except TableError as error:
        section.fault(None, str(error))
        return None


def _check_own_endpoints(section: Section, broker: Broker) -> None:
    """No row takes an address that bearerd itself uses: a client must not get at tokens through us."""
    for path in dict.fromkeys(_own_paths(broker)):
        segments = tuple(path[1:].encode().split(b"/"))
        rows = [row for method in METHODS for row in broker.table.rows_at(method, segments)]
        # Some servers fold letter case, and take a last slash or leave it.
        rows += [row for row in broker.table.rows if row.path.rstrip("/").lower() == path.rstrip("/").lower()]
        for row in dict.fromkeys(rows):
            message = f"row {row.id} takes {row.method} {path}, where tokens are handed out"
            section.fault("rows", message, "remove the row")


def _own_paths(broker: Broker) -> Iterable[str]:
    if broker.emulated_token_path:
        yield broker.emulated_token_path
    for environment in broker.environments.values():
        for url in (environment.token_url, environment.authorize_url, environment.revoke_url):
            if url and (found := _URL.fullmatch(url)) and len(found["path"]) > 1:
                yield found["path"]
