"""The configuration together with the brokers that it names, each checked against the other."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy.brokers import Api, Broker, Origin, catalogue
from proxy.collector import Collector, read_collector
from proxy.config import Config, ConfigInvalid, Mount, Problem, did_you_mean, load
from proxy.config.model import NAME_PATTERN
from proxy.grants import GrantSettings as GrantSettings  # noqa: PLC0414  both are imported from here
from proxy.grants import OAuthApp as OAuthApp  # noqa: PLC0414
from proxy.grants import read_grants
from proxy.guarding import problems as guard_problems
from proxy.hooks import Hook, read_hooks


class NoSuchGrant(LookupError):
    """No grant can have that name. The text is for a person."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the app is made of. `brokers` holds every known definition, the user's own included.

    `grants` has every grant that a mount uses. `stamp` tells the file that was read from a later one (see `stamp_of`).
    `hooks` are those who are told when something goes wrong, `collector` takes the spans of traced calls.
    """

    config: Config
    brokers: Mapping[str, Broker]
    stamp: tuple[int, int] = (0, 0)
    grants: Mapping[str, GrantSettings] = field(default_factory=dict)
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    collector: Collector | None = None

    def api_of(self, mount: str) -> Api:
        """The API that a mount is; `LookupError` for an unknown mount."""
        wanted = self.config.mounts[mount]
        return self.brokers[wanted.broker].api(wanted.api)

    def grant(self, name: str) -> GrantSettings:
        """A configured grant, or a member of one (`GRANT/PERSON`), which is logged in in the same way.

        Raises `NoSuchGrant`.
        """
        base, slash, person = name.partition("/")
        found = self.grants.get(base)
        if found is None:
            known = ", ".join(self.grants) or "none"
            raise NoSuchGrant(f"there is no grant '{base}' in the configuration that is loaded; known: {known}")
        if not slash:
            return found
        if not re.fullmatch(NAME_PATTERN, person, re.ASCII):
            raise NoSuchGrant(f"'{name}' is no name of a grant: after the / stand 1 to 63 of a-z, 0-9 and -")
        if found.login.kind == "client-credentials":
            raise NoSuchGrant(f"grant {base} logs in by client credentials, which are the same for everybody")
        return replace(found, name=name)

    def named(self, name: str) -> GrantSettings:
        """The grant of that name, or of the mount of that name; `NAME/PERSON` is a member of it. `NoSuchGrant`."""
        base, slash, person = name.partition("/")
        grant = self.config.grant_of(base) if base in self.config.mounts else base
        if grant not in self.grants:
            known = ", ".join(self.config.mounts) or "none"
            raise NoSuchGrant(f"there is no mount or grant '{base}'; known: {known}")
        return self.grant(f"{grant}{slash}{person}")

    def origin_of(self, mount: str) -> Origin | None:
        """The one address of a mount's API; None where token answers name it. `LookupError` for an unknown mount."""
        grant = self.grants[self.config.grant_of(mount)]
        if grant.broker.api_server_in_answer:
            return None
        return grant.environment.api_servers[self.api_of(mount).name]


def read(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Settings:
    """Raises `ConfigInvalid` with every problem of the file, the environment, the flags and the user's brokers.

    Blocks: it reads the files that hold secrets of applications.
    """
    stamp = stamp_of(path)
    loaded = load(path, environ, overrides)
    problems = list(loaded.problems)
    brokers: Mapping[str, Broker] = {}
    grants: Mapping[str, GrantSettings] = {}
    hooks: Mapping[str, Hook] = {}
    collector: Collector | None = None
    if loaded.draft is not None and not loaded.newer:
        brokers, found = catalogue(loaded.draft.brokers, base=loaded.draft.base)
        problems += found
        problems += _mounts(loaded.draft, brokers)
        problems += guard_problems(loaded.draft, brokers)
        grants, found = read_grants(loaded.draft, brokers)
        problems += found
        hooks, found = read_hooks(loaded.draft)
        problems += found
        collector, found = read_collector(loaded.draft)
        problems += found
    if problems or loaded.config is None:
        raise ConfigInvalid(problems, loaded.document.name, loaded.document)
    return Settings(loaded.config, brokers, stamp, grants, hooks, collector)


def stamp_of(path: Path) -> tuple[int, int]:
    """Tells a changed file without reading it. Blocks."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _mounts(config: Config, brokers: Mapping[str, Broker]) -> Iterator[Problem]:
    """Mounts name brokers, environments, APIs and scopes: each must be one that there is."""
    described = config.brokers.data
    for name, mount in config.mounts.items():
        broker = brokers.get(mount.broker)
        if broker is None and isinstance(described, dict) and mount.broker in described:
            continue  # its definition is at fault, and that has been told
        if broker is None:
            fix = did_you_mean(mount.broker, brokers) or f"known: {', '.join(sorted(brokers))}"
            yield config.problem(("mounts", name, "broker"), f"there is no broker '{mount.broker}'", fix)
            continue
        if mount.environment not in broker.environments:
            known = broker.environments
            fix = did_you_mean(mount.environment, known) or f"known: {', '.join(known)}"
            message = f"{broker.title} has no environment '{mount.environment}'"
            yield config.problem(("mounts", name, "environment"), message, fix)
        yield from _api(config, name, mount, broker)
        yield from _scopes(config, name, mount, broker)
        yield from _stream_ports(config, name, mount, broker)


def _stream_ports(config: Config, name: str, mount: Mount, broker: Broker) -> Iterator[Problem]:
    """Ports for streams are of use only where a call opens one at a port of the broker's."""
    api = broker.apis.get(mount.api) if mount.api is not None else broker.api()
    if mount.stream_ports is not None and api and not any(row.rewrites == "stream_port" for row in api.table.rows):
        message = f"{broker.title} has no streams at ports of their own"
        yield config.problem(("mounts", name, "stream_ports"), message, "remove it", at_key=True)


def _api(config: Config, name: str, mount: Mount, broker: Broker) -> Iterator[Problem]:
    """The API is one of the broker's, and of the environment."""
    if mount.api is not None and mount.api not in broker.apis:
        fix = did_you_mean(mount.api, broker.apis) or f"known: {', '.join(broker.apis)}"
        if len(broker.apis) == 1:
            fix = "remove the line: there is only one"
        yield config.problem(("mounts", name, "api"), f"{broker.title} has no API '{mount.api}'", fix)
        return
    environment = broker.environments.get(mount.environment)
    api = broker.api(mount.api).name
    if environment and not broker.api_server_in_answer and api not in environment.api_servers:
        message = f"{broker.title} has no API '{api}' in its environment '{environment.name}'"
        fix = f"there: {', '.join(environment.api_servers) or 'none'}"
        yield config.problem(("mounts", name, "environment" if mount.api is None else "api"), message, fix)


def _scopes(config: Config, name: str, mount: Mount, broker: Broker) -> Iterator[Problem]:
    """Each scope is one of the broker's that some call of this API needs."""
    api = broker.apis.get(mount.api) if mount.api is not None else broker.api()
    for index, scope in enumerate(mount.scopes):
        path = ("mounts", name, "scopes", index)
        if scope not in broker.scopes:
            offered = [each for each in broker.scopes if api is None or len(broker.apis) == 1 or each in api.scopes]
            fix = did_you_mean(scope, offered) or f"known: {', '.join(offered)}"
            yield config.problem(path, f"{broker.title} has no scope '{scope}'", fix)
        elif api and len(broker.apis) > 1 and scope not in api.scopes:
            others = [each.name for each in broker.apis.values() if scope in each.scopes]
            fix = f"it belongs to {' and '.join(others)}" if others else "remove it"
            yield config.problem(path, f"no call of the API '{api.name}' needs scope '{scope}'", fix)
