"""The `environments:` of a definition: hosts, addresses for each login, and how often a token may be renewed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy.brokers.definition import Endpoints, Environment, Login, Rate
from proxy.brokers.logins import ENDPOINTS, NEEDED, matching, meant_for, read_endpoints
from proxy.brokers.origin import HostPattern, Origin, read_api_server
from proxy.brokers.rates import read_own_rates
from proxy.brokers.section import Section
from proxy.config.problem import did_you_mean

_ENVIRONMENT = (
    *ENDPOINTS, "logins", "api_server", "api_servers", "api_hosts", "ca_file", "private_hosts", "min_life",
    "renew_cooldown", "max_rotations_per_day", "token_concurrency", "rate_limits",
)  # fmt: skip
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_SLASHES = 2  # of https://
_FILE = re.compile(r"(?:~/|(?!~))[^\0]+")


@dataclass(frozen=True, slots=True)
class Frame:
    """What an environment is read against: the broker's APIs, logins and rates, and whether token answers name the API.

    `base` is where a relative `ca_file` starts.
    """

    apis: tuple[str, ...]
    logins: Mapping[str, Login]
    api_server_in_answer: bool
    base: Path
    rates: Mapping[str, Rate] = field(default_factory=dict)


def read_environments(
    section: Section, frame: Frame, known: Mapping[str, Environment] | None = None
) -> dict[str, Environment]:
    """Those of `known`, completed, and new ones. One that exists keeps what is not named; `api_hosts` are added."""
    found = dict(known or {})
    for name, part in section.named("environments"):
        found[name] = _environment(part, name, frame, found.get(name))
    return found


def _environment(section: Section, name: str, frame: Frame, known: Environment | None) -> Environment:
    section.known(_ENVIRONMENT)
    times = {key: section.number(key) for key in ("min_life", "renew_cooldown")}
    ca_file = matching(section, "ca_file", _FILE, "a path, absolute, from `~/`, or from this file's directory")
    given: dict[str, Any] = (
        times
        | read_own_rates(section, frame.rates)
        | {
            "max_rotations_per_day": section.whole("max_rotations_per_day"),
            "token_concurrency": _token_concurrency(section),
            "ca_file": None if ca_file is None else str(frame.base / Path(ca_file).expanduser()),
        }
    )
    given = {key: value for key, value in given.items() if value is not None}
    before = known or Environment(name)
    servers = {**before.api_servers, **_api_servers(section, frame)}
    if not servers and not frame.api_server_in_answer:
        section.needs("api_server" if len(frame.apis) == 1 else "api_servers")
    shared, own = read_endpoints(section), _own_endpoints(section, frame)
    found = replace(
        before,
        api_servers=servers,
        api_hosts=_all_hosts(section, before, servers),
        private_hosts=before.private_hosts.union(_private_hosts(section)),
        defaults=replace(before.defaults, **shared),
        **given,
    )
    found = replace(found, logins=dict(_logins(frame, before, found, shared, own)))
    if not found.logins:
        _tell_what_is_missing(section, frame, found.defaults)
    return found


def _token_concurrency(section: Section) -> int | None:
    value = section.whole("token_concurrency")
    if value is not None and value < 1:
        section.fault("token_concurrency", "must be at least 1", "write how many token requests may be out at a time")
        return None
    return value


def _own_endpoints(section: Section, frame: Frame) -> dict[str, dict[str, Any]]:
    """What stands below the names of logins."""
    found = {}
    for name, part in section.named("logins"):
        part.known(ENDPOINTS)
        found[name] = read_endpoints(part)
        if name not in frame.logins:
            fix = did_you_mean(name, frame.logins) or f"known: {', '.join(frame.logins)}"
            section.section("logins").fault(name, f"there is no login '{name}'", fix, at_key=True)
    return found


def _logins(
    frame: Frame,
    before: Environment,
    found: Environment,
    shared: Mapping[str, Any],
    own: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, Endpoints]]:
    """The logins that this environment has: with their addresses, and an API that takes their credential."""
    for name, login in frame.logins.items():
        known = before.logins.get(name, before.defaults)
        endpoints = meant_for(login, replace(known, **{**shared, **own.get(name, {})}))
        if endpoints and (frame.api_server_in_answer or any(map(login.serves, found.api_servers))):
            yield name, endpoints


def _tell_what_is_missing(section: Section, frame: Frame, defaults: Endpoints) -> None:
    login = next(iter(frame.logins.values()), None)
    if login:
        section.needs(*(key for key in NEEDED[login.kind] if not getattr(defaults, key)))


def _api_servers(section: Section, frame: Frame) -> dict[str, Origin]:
    if section.data.get("api_server") is not None and len(frame.apis) > 1:
        section.fault("api_server", "there are several APIs", f"write api_servers: {{{frame.apis[0]}: https://…}}")
        return {}
    parts = [(frame.apis[0], section, "api_server")] if frame.apis else []
    servers = section.section("api_servers")
    for name in servers.data:
        if name in frame.apis:
            parts.append((name, servers, name))
        else:
            fix = did_you_mean(name, frame.apis) or f"known: {', '.join(frame.apis)}"
            servers.fault(name, f"there is no API '{name}'", fix, at_key=True)
    return {name: origin for name, part, key in parts if (origin := _origin(part, key))}


def _origin(section: Section, key: str) -> Origin | None:
    text = section.text(key)
    # A path would be dropped: rows begin at the root.
    origin = read_api_server(text) if text is not None and text.count("/") == _SLASHES + text.endswith("/") else None
    if text is not None and (origin is None or not _is_host(origin)):
        section.fault(key, "is no address of an API server", "write https://HOST or https://HOST:PORT, without a path")
        return None
    return origin


def _is_host(origin: Origin) -> bool:
    try:
        return bool(HostPattern.parse(str(origin)))
    except ValueError:
        return False


def _all_hosts(section: Section, before: Environment, servers: Mapping[str, Origin]) -> tuple[HostPattern, ...]:
    hosts = [*before.api_hosts, *_hosts(section)]
    for origin in servers.values():
        if not any(host.matches(origin) for host in hosts):
            hosts.append(HostPattern.parse(str(origin)))
    return tuple(dict.fromkeys(hosts))


def _hosts(section: Section) -> Sequence[HostPattern]:
    hosts = []
    for index, text in enumerate(section.texts("api_hosts")):
        try:
            hosts.append(HostPattern.parse(text))
        except ValueError as error:
            section.problems.append(section.document.problem((*section.path, "api_hosts", index), str(error)))
    return hosts


def _private_hosts(section: Section) -> Iterator[str]:
    for index, text in enumerate(section.texts("private_hosts")):
        if _NAME.fullmatch(text):
            yield text
        else:
            message = f"{text!r} is no host name: lower-case letters, digits, '.' and '-', without a port"
            section.problems.append(section.document.problem((*section.path, "private_hosts", index), message))
