"""What each grant logs in with: the `grants:` of the configuration, held against the brokers and the mounts.

A grant that the configuration does not describe is one all the same, if a mount uses it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.brokers import Broker, Endpoints, Environment, Login
from proxy.config import Config, Grant, Mount, Problem, did_you_mean
from proxy.config.problem import Path as KeyPath
from proxy.filestamp import Stamp, stamp_of
from proxy.secret import Secret
from proxy.store import UnsafeFile
from proxy.store.files import read_provided

_LIMIT = 65536  # bytes of a secret's file


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """An application of a broker partner. `redirect_uri` and `scope` are what its calls say where they do not."""

    client_secret: Secret
    redirect_uri: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class GrantSettings:
    """One grant, ready for a login.

    `redirect_uri` is as configured, None for the console's own. `scopes` are those of the mounts that use the grant, in
    their order, as far as this login asks for them. `apps` has a partner's applications by `client_id`. `trust` tells
    which file the environment's `ca_file` was.
    """

    name: str
    broker: Broker
    environment: Environment
    login: Login
    endpoints: Endpoints
    client_id: str | None = None
    client_secret: Secret | None = None
    redirect_uri: str | None = None
    scopes: tuple[str, ...] = ()
    apps: Mapping[str, OAuthApp] = field(default_factory=dict)
    trust: Stamp | None = None


def read_grants(config: Config, brokers: Mapping[str, Broker]) -> tuple[dict[str, GrantSettings], list[Problem]]:
    """Every grant that a mount uses, and every problem. Blocks: secrets may rest in files.

    A mount without a broker or environment has been told of elsewhere, and is passed over.
    """
    users: dict[str, dict[str, Mount]] = {}
    for name, mount in config.mounts.items():
        broker = brokers.get(mount.broker)
        if broker and mount.environment in broker.environments and (mount.api is None or mount.api in broker.apis):
            users.setdefault(config.grant_of(name), {})[name] = mount
    problems: list[Problem] = []
    found = {}
    for name, mounts in users.items():
        broker = brokers[next(iter(mounts.values())).broker]
        reader = _Reader(config, name, mounts, broker, problems)
        if (grant := reader.grant()) is not None:
            found[name] = grant
    return found, problems


@dataclass(frozen=True, slots=True)
class _Reader:
    """One grant being read. `mounts` are those that use it, at least one."""

    config: Config
    name: str
    mounts: Mapping[str, Mount]
    broker: Broker
    problems: list[Problem]

    def grant(self) -> GrantSettings | None:
        environment = self.broker.environments[self._first.environment]
        login = self._login(environment)
        if login is None:
            return None
        self._check_apis(login, environment)
        self._check_client(login, environment)
        described = self._described
        scopes = dict.fromkeys(scope for mount in self.mounts.values() for scope in mount.scopes)
        return GrantSettings(
            self.name,
            self.broker,
            environment,
            login,
            environment.endpoints(login),
            described.client_id,
            self._secret(("grants", self.name), described.client_secret, described.client_secret_file),
            described.redirect_uri,
            tuple(scope for scope in scopes if login.sends_scopes is None or scope in login.sends_scopes),
            dict(self._apps()),
            stamp_of(environment.ca_file),
        )

    @property
    def _described(self) -> Grant:
        return self.config.grants.get(self.name) or Grant()

    @property
    def _first(self) -> Mount:
        return next(iter(self.mounts.values()))

    def _say(self, path: KeyPath, message: str, fix: str | None = None, *, at_key: bool = False) -> None:
        self.problems.append(self.config.problem(path, message, fix, at_key=at_key))

    def _missing(self, key: str, message: str, fix: str) -> None:
        """Told at the grant, or at the mount that uses it, if nothing describes the grant."""
        path: KeyPath = ("grants", self.name, key)
        self._say(path if self.name in self.config.grants else ("mounts", next(iter(self.mounts))), message, fix)

    def _serving(self, environment: Environment) -> list[str]:
        """The logins of this environment whose credential every mount's API takes."""
        apis = {self.broker.api(mount.api).name for mount in self.mounts.values()}
        logins = (self.broker.logins[name] for name in environment.logins)
        return [login.name for login in logins if all(map(login.serves, apis))]

    def _login(self, environment: Environment) -> Login | None:
        wanted = self._described.login
        if wanted is None:
            fitting = self._serving(environment)
            if not fitting:
                message = f"no login of {self.broker.title} serves every mount of grant '{self.name}'"
                self._missing("login", message, "give each mount a grant of its own")
                return None
            return self.broker.logins[fitting[0]]
        if wanted in environment.logins:
            return self.broker.logins[wanted]
        place = f"{self.broker.title} has no login '{wanted}'"
        if wanted in self.broker.logins:
            place += f" in its environment '{environment.name}'"
        fix = did_you_mean(wanted, environment.logins) or f"there: {', '.join(environment.logins) or 'none'}"
        self._say(("grants", self.name, "login"), place, fix)
        return None

    def _check_apis(self, login: Login, environment: Environment) -> None:
        for name, mount in self.mounts.items():
            api = self.broker.api(mount.api).name
            if not login.serves(api):
                fitting = [each for each in environment.logins if self.broker.logins[each].serves(api)]
                way = "choose" if len(self.mounts) == 1 else "give it a grant of its own with"
                fix = f"{way} login: {' or '.join(fitting)}" if fitting else "no login does"
                path: KeyPath = ("mounts", name, "api" if mount.api is not None else "broker")
                self._say(path, f"the API '{api}' takes no credential of login '{login.name}'", fix)

    def _check_client(self, login: Login, environment: Environment) -> None:
        """The login has the application that it needs, and no other."""
        described = self._described
        if login.kind == "secret":
            others = [each for each in environment.logins if self.broker.logins[each].kind != "secret"]
            fix = f"remove it, or choose login: {' or '.join(others)}" if others else "remove it"
            keys = ("client_id", "client_secret", "client_secret_file")
            key = next((each for each in keys if getattr(described, each) is not None), None)
            if key:
                self._say(("grants", self.name, key), f"login '{login.name}' uses no application", fix)
            return
        needed = login.kind in ("code", "client-credentials") or login.client_auth != "none"
        if needed and described.client_id is None:
            plain = [each for each in self._serving(environment) if self.broker.logins[each].kind == "secret"]
            other = f", or choose login: {' or '.join(plain)}" if plain else ""
            fix = f"add client_id: … under grants.{self.name}{other}"
            self._missing("client_id", f"login '{login.name}' needs the client_id of your application", fix)
        held = (described.client_secret, described.client_secret_file)
        if login.client_auth != "none" and described.client_id is not None and held == (None, None):
            fix = f"add client_secret_file: PATH under grants.{self.name}"
            self._missing("client_secret_file", f"login '{login.name}' needs the application's secret", fix)

    def _apps(self) -> Iterator[tuple[str, OAuthApp]]:
        if self._described.apps and not self.broker.partner_oauth:
            path: KeyPath = ("grants", self.name, "apps")
            self._say(path, f"{self.broker.title} has no OAuth for partners", "remove it", at_key=True)
        for client_id, app in self._described.apps.items():
            path = ("grants", self.name, "apps", client_id)
            secret = self._secret(path, app.client_secret, app.client_secret_file)
            if secret is not None:
                yield client_id, OAuthApp(secret, app.redirect_uri, app.scope)
            elif app.client_secret_file is None:
                self._say(path, "needs the application's secret", "add client_secret_file: PATH", at_key=True)

    def _secret(self, path: KeyPath, secret: Secret | None, file: Path | None) -> Secret | None:
        """The secret that the file has, or the one given. One newline at the file's end does not count."""
        if file is None:
            return secret
        here = (*path, "client_secret_file")
        try:
            text = read_provided(file, _LIMIT).decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnsafeFile as unsafe:
            self._say(here, f"the file cannot be used: {unsafe}")
        except (OSError, UnicodeDecodeError):
            self._say(here, "the file cannot be read", f"put the secret into {file}")
        else:
            if text:
                return Secret(text)
            self._say(here, "the file is empty", f"put the secret into {file}")
        return None
