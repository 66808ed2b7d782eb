"""`bearerd init`: a configuration, a master key, a first client. What is there already is left as it is."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.exits import Stop
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.output import home_short
from proxy.cli.tls import prepare

if TYPE_CHECKING:
    from proxy.brokers import Broker
    from proxy.config import Config
    from proxy.settings import Settings

CLIENT = "notebook"

TEMPLATE = """\
# bearerd's configuration. `bearerd config check` reports every mistake, `bearerd config show --origin` all values in
# force with their defaults, `bearerd help environment` the variables that override them.
version: 1

# Where clients call, and where you look (status page, metrics, health). Only this machine reaches these.
listen: 127.0.0.1:8080
console: 127.0.0.1:8081

# Name → broker. The name is the first segment of the path: http://127.0.0.1:8080/{broker}/…
mounts:
  {broker}:
    broker: {broker}
    environment: {environment}
{api}    # What may pass, in the broker's words; all else is refused. There are:
{scopes}
    scopes: [{reading}]
{others}{grants}
# Who may call, and what. Keys are not kept here: `bearerd clients add NAME` makes one.
clients:
  {client}: {{{broker}: [{reading}]}}
"""

OTHERS = "  # Its other APIs are mounts of their own, with the same login. Clients need rights there too.\n"
GRANTS = """
# How to log in; the broker's other logins need an application of your own: `bearerd help brokers`.
grants:
  {broker}: {{login: {login}}}        # {title}
"""


@dataclass
class Made:
    """What `init` did. `key` is the first client's, shown this once."""

    config: Path
    store: str = ""
    key_source: str = ""
    done: list[str] = field(default_factory=list)
    key: str | None = None
    client: str | None = None


@click.command(cls=Command)
@click.option("--broker", default="questrade", show_default=True, help="The first mount's broker.")
@click.option("--environment", help="Which of its environments. Default: live.")
@click.option("--api", help="Which of its APIs, where it has several. Default: its first.")
def init(broker: str, environment: str | None, api: str | None) -> None:
    """Write a configuration and a master key, and make a first client key, which is printed this once.

    What is there already is left as it is. A new configuration goes to --config, $BEARERD_CONFIG, or
    ~/.config/bearerd/config.yaml.
    """
    invocation = current()
    made = Made(place(invocation))
    write_config(made, broker, environment, api)
    invocation.config = made.config
    settings = invocation.settings()
    if (authority := prepare(settings.config)) is not None:
        made.done.append(authority)
    asyncio.run(_make_keys(invocation, settings, made))
    _report(invocation, settings, made)


def place(invocation: Invocation) -> Path:
    """The configuration that every other command would find, or where a new one goes: beside the master key."""
    from proxy.config import ConfigInvalid
    from proxy.config.load import default_places

    with contextlib.suppress(ConfigInvalid):
        return invocation.config_file()
    return Path(default_places(invocation.environ)["key"].removeprefix("file:")).with_name("config.yaml")


def write_config(made: Made, name: str, environment: str | None, api: str | None) -> None:
    """The template for one broker, unless there is a file. A usage error for a name that isn't."""
    from proxy.brokers import builtin, builtin_names
    from proxy.config import did_you_mean
    from proxy.store.files import write_private

    if made.config.exists():
        return
    if name not in builtin_names():
        hint = did_you_mean(name, builtin_names()) or f"known: {', '.join(builtin_names())}"
        raise click.UsageError(f"There is no broker '{name}', {hint}")
    broker = builtin(name)
    chosen = environment or ("live" if "live" in broker.environments else next(iter(broker.environments)))
    if chosen not in broker.environments:
        raise click.UsageError(f"{broker.title} has no environment '{chosen}'; known: {', '.join(broker.environments)}")
    known = served(broker, chosen)
    if api is not None and api not in known:
        raise click.UsageError(f"{broker.title}'s {chosen} has no API '{api}'; known: {', '.join(known)}")
    made.config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(made.config, configuration(broker, chosen, api or known[0]).encode())
    made.done.append(f"wrote {home_short(str(made.config))}: {broker.title}, {chosen}, reading only")


def served(broker: "Broker", environment: str) -> list[str]:
    """The APIs that this environment has."""
    servers = broker.environments[environment].api_servers
    return [name for name in broker.apis if broker.api_server_in_answer or name in servers]


def configuration(broker: "Broker", environment: str, api: str) -> str:
    """The text of a small configuration that allows what changes nothing.

    Its login is the first one that needs no application of one's own, if there is one.
    """
    offered = {scope: meaning for scope, meaning in broker.scopes.items() if scope in broker.api(api).scopes}
    logins = [broker.login(name) for name in broker.environments[environment].logins]
    fitting = [login for login in logins if login.serves(api)]
    ready = [login for login in fitting if login.kind in ("refresh-token", "secret") and login.client_auth == "none"]
    login = (ready or fitting)[0]
    others = [name for name in served(broker, environment) if name != api and login.serves(name)]
    return TEMPLATE.format(
        broker=broker.name,
        environment=environment,
        api="" if api == broker.api().name else f"    api: {api}\n",
        scopes="\n".join(f"    #   {scope}: {meaning}" for scope, meaning in offered.items()),
        reading=", ".join(_reading(broker, api)),
        others=OTHERS * bool(others) + "".join(_other(broker, environment, name) for name in others),
        grants="" if login == fitting[0] else GRANTS.format(broker=broker.name, login=login.name, title=login.title),
        client=CLIENT,
    )


def _reading(broker: "Broker", api: str) -> list[str]:
    """The scopes all of whose calls change nothing."""
    found = broker.api(api)
    changing = {row.scope for row in found.table.rows if row.mutating}
    return [scope for scope in broker.scopes if scope in found.scopes and scope not in changing]


def _other(broker: "Broker", environment: str, api: str) -> str:
    """A mount for another API with the same login, ready to be put in force."""
    keys = f"broker: {broker.name}, environment: {environment}, api: {api}, grant: {broker.name}"
    return f"  #{broker.name}-{api}: {{{keys}, scopes: [{', '.join(_reading(broker, api))}]}}\n"


async def _make_keys(invocation: Invocation, settings: "Settings", made: Made) -> None:
    from proxy.cli.server import operate

    config = settings.config
    source = invocation.source(config)
    made.store, made.key_source = config.store, config.key
    if source.place is not None and not source.place.exists():
        await _refuse_another_key(config, source.place)
        if source.kind == "passphrase":
            config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(source.create)
        made.done.append(f"made a master key in {home_short(str(source.place))}")
    new_store = config.store_path if config.store_path is not None and not config.store_path.exists() else None
    if isinstance(config.clients, str) or not config.clients:
        return
    known = await operate(invocation, settings, "clients-list", {})
    if new_store is not None:
        made.done.append(f"made the store {home_short(str(new_store))}")
    if any(client["keys"] for client in known["clients"]):
        return
    made.client = CLIENT if CLIENT in config.clients else next(iter(config.clients))
    answer: Mapping[str, Any] = await operate(invocation, settings, "clients-add", {"name": made.client})
    made.key = answer["key"]
    made.done.append(f"made a key for the client {made.client}; it is shown only now")


async def _refuse_another_key(config: "Config", place: Path) -> None:
    """`Stop` if there is a store that a new key would not open. `StoreError`."""
    if config.store_path is not None:
        if config.store_path.exists():
            raise Stop(
                f"the store {config.store_path} is there, but its master key {place} is not. "
                "A new key would not open it: put the old one back, or move the store away"
            )
        return
    from proxy.custody import open_store

    store = await open_store(config, any_state=True)
    try:
        key_id = store.key_id
    finally:
        await store.close()
    if key_id is not None:
        raise Stop(
            f"{store.location} is sealed with the master key {key_id}, and {place} is missing. "
            "A new key would not open it: bring the one that the other servers have"
        )


def _report(invocation: Invocation, settings: "Settings", made: Made) -> None:
    if invocation.as_json:
        invocation.data(
            {
                "config": str(made.config),
                "key": made.key_source,
                "store": made.store,
                "client": made.client,
                "client_key": made.key,
                "done": made.done,
            }
        )
        return
    for line in made.done or ["everything is there already; nothing was changed"]:
        invocation.say(f"✓ {line}")
    if made.key:
        click.echo(made.key)
        sys.stdout.flush()
    mount = next(iter(settings.config.mounts), None)
    if mount:
        invocation.say(f"Next: bearerd login {mount}, then: bearerd serve")
