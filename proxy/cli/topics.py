"""`bearerd help TOPIC`: what no single command's help can say."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import click

from proxy.cli.exits import MEANINGS
from proxy.cli.invocation import Command, current

if TYPE_CHECKING:
    from proxy.config.keys import Kind

SCOPES = """\
# Scopes

A scope is the broker's own name for a group of calls: `read_acc`, `read_md`, `trade`. The broker's definition has a row
for each kind of call, and each row has exactly one scope. A call passes if a row matches it and the row's scope stands

1. in `mounts.NAME.scopes`, and
2. in `clients.NAME.MOUNT`, for the client whose key it carries.

What no row matches is refused (403 `scope-denied`). So are paths that could be read in two ways (400); nothing is
cleaned up. GET does not imply HEAD, and no wildcard exists.

    bearerd scopes list questrade
    bearerd scopes check POST /questrade/v1/accounts/26598145/orders --client notebook
"""

CLIENTS = """\
# Clients

A client is a program or a person, proven by a client key: `brd_…`. Rights stand in the configuration, keys in the
store:

    clients:
      notebook: {questrade: [read_acc, read_md]}

    bearerd clients add notebook      # shows a key, once
    bearerd clients list
    bearerd clients add notebook --expires 90d
    bearerd clients rotate notebook --overlap 24h    # a new key now; the old one ends a day later
    bearerd clients remove notebook   # all its keys are refused from then on; with --key N only that one

A program can have a key that ends with it, with the variables that SDKs read pointed at bearerd:

    bearerd run --client notebook -- python bot.py

The key is taken as `Authorization: Bearer`, as user or password of Basic, as `APCA-API-SECRET-KEY`, as `X-Api-Key`, and
as the refresh token at `/questrade/oauth2/token`, which bearerd answers itself. It never reaches the broker. A client
may have several keys.

`clients: none`, on a loopback or Unix listener only, lets any program on this machine call.

What to write in each language, for each library: on the console, under "Connect a client", with your own addresses,
and in docs/clients.md.
"""

GUARDS = """\
# Guards

A guard looks into an order, after the scopes have let the call pass. Guards stand below a mount, for all that call it,
and below a client's rights on a mount, for that client; both have to let the order pass:

    mounts:
      alpaca: {broker: alpaca, environment: paper, scopes: [trading], guards: {symbols: [AAPL], max_quantity: 100}}
    clients:
      bot: {alpaca: {scopes: [trading], guards: {types: [limit], max_quantity: 10, max_notional: 2000}}}

accounts           that calls may name, in path, query or body; reads and cancels too
symbols            what may be traded, as the broker's orders write it (Questrade: the number, as text)
underlyings        whose options may be traded; `symbols` alone never allows an option of a share
sides, types       the broker's words
max_quantity       of one order or leg, in shares or contracts
max_notional       of one order: its amount, or quantity times limit price (times 100 for an option)
orders_per_minute  placed and changed
hours              {days: [mon, …], open: "09:30", close: "16:00", zone: America/New_York}

An order that does not tell what a guard asks for is refused, and so is one that could be read in two ways: 403
`guard-denied`, with the guard and the line to change. Cancelling an order and closing a position pass every guard but
`accounts`. Without guards no order is read.

    bearerd scopes list alpaca        # which calls place an order, change one, lower a risk

docs/guards.md has what each broker's orders tell and what they do not.
"""

BROKERS = """\
# Brokers

A broker is a definition, as data: hosts, logins, scopes, rows. `brokers:` in the configuration extends one that comes
with bearerd, or defines one of your own. `bearerd config check` reports every mistake.

## Extend one

Environments and rows can be added, and the scopes and types that new rows need. Nothing else of it changes.

    brokers:
      questrade:
        environments:
          lab: {token_url: "https://127.0.0.1:9443/oauth2/token", api_hosts: ["127.0.0.1:*"], ca_file: lab-ca.pem}
        rows:
          - {id: my_call, method: GET, path: "/v1/accounts/{account}/mine", scope: read_acc}

## Bring your own

    brokers:
      desk:
        title: My Desk
        scopes: {read: Read accounts, trade: Place and cancel orders}
        logins:
          token: {kind: secret}
        environments:
          live: {api_server: "https://api.desk.example"}
        params: {account: "[0-9]{8}"}
        rows:
          - {id: accounts, method: GET, path: /v1/accounts, scope: read}
          - {id: order_new, method: POST, path: "/v1/accounts/{account}/orders", scope: trade, mutating: true}

- A login is of a kind: `secret` (a plain token or key pair), `refresh-token`, `code` (in the browser) or
  `client-credentials`. All but the first need a `token_url` in the environment, `code` an `authorize_url` too, and the
  definition then needs `dead_token` rules.
- `placement` says where the credential goes: `bearer`, `basic`, `{headers: [NAME, NAME]}` or `{query: NAME}`.
- A row is one kind of call with exactly one scope. What no row takes is refused. Mark calls that change something
  `mutating`.
- A broker with several APIs has `apis: {NAME: {rows: [...]}}` and `api_servers: {NAME: https://...}` instead.

docs/brokers.md explains every key and what a wrong one costs; examples/schwab.yaml is a whole broker with OAuth, and
`bearerd simulate --file examples/schwab-simulator.yaml` one to practise against.

## Hosts

A credential is sent only to the hosts of `api_hosts`, `api_server` and `api_servers`, over verified TLS; `ca_file` adds
trust and takes no check away. A name that leads to a private address is refused unless `private_hosts` lists it;
`localhost` and written-out addresses say it themselves. `#` in a host stands for one digit, `*` may stand for the port.
Nothing else is a wildcard.
"""

TROUBLESHOOTING = """\
# Troubleshooting

    bearerd status            what is wrong now, with the next command
    bearerd doctor            permissions, clock, disk, ports, TLS, the way to each broker, and what helps
    bearerd help MESSAGE      what a message means, and what to do: as it was printed, or some words of it
    bearerd -v COMMAND        where an unexpected error happened
    bearerd audit search --request ID     what came of one call; ID is `request_id` of the answer

Every message that bearerd can print stands word for word, with its cause and what to do, in docs/troubleshooting.md
and the pages below it; `…` there stands for a name, a number or a file.

An HTTP answer with `Proxy-Status: bearerd` is bearerd's own refusal: `fix` says the next step, and `type` ends in the
name of its kind, which is a section of docs/troubleshooting/http.md. Without that header it is the broker's answer.
Exit codes of commands: bearerd help exit-codes
"""

# What is read besides the configuration's own keys.
OTHERS: Mapping[str, str] = {
    "BEARERD_CONFIG": "the configuration file",
    "BEARERD_KEY": "a client key, for `bearerd env` and for your own programs",
    "BEARERD_URL": "bearerd's address, for your own programs",
    "BEARERD_LOGIN_TOKEN, BEARERD_LOGIN_TOKEN_FILE": "the refresh token or secret for `bearerd login`",
    "BEARERD_LOGIN_ANSWER, BEARERD_LOGIN_ANSWER_FILE": "the address for `bearerd login --complete`",
    "BEARERD_PASSPHRASE, BEARERD_PASSPHRASE_FILE": "for `key: passphrase`",
    "BEARERD_CONSOLE_TOKEN_FILE": "a token that opens the console as often as one likes",
    "BEARERD_EVENT, BEARERD_EVENT_ID, BEARERD_EVENT_KEY": "given to commands of `alerts:`, and not read",
    "BEARERD_EVENT_KIND, BEARERD_EVENT_SEVERITY, BEARERD_EVENT_TEXT": "likewise",
    "XDG_CONFIG_HOME, XDG_STATE_HOME": "where configuration and state live",
    "STATE_DIRECTORY, CREDENTIALS_DIRECTORY": "the same, as systemd sets them",
    "NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM": "colour",
}


def environment() -> str:
    """Every variable: those that override a key, and the others."""
    return "\n".join(_environment()) + "\n"


def _environment() -> Iterator[str]:
    from proxy.config.keys import ANY, Kind, keys, variable

    yield "# Environment\n"
    yield "Flags win over the environment, the environment over the file, the file over defaults.\n"
    yield "| variable | key |\n|---|---|"
    for key, kind in keys().items():
        if kind is not Kind.TREE:
            shown = tuple("NAME" if step == ANY else step for step in key)
            yield f"| {_named(variable(shown), kind)} | {'.'.join(shown)} |"
    yield "\nNAME is one of your own names, in capitals, with _ for -. Lists have commas between their items.\n"
    yield "| variable | meaning |\n|---|---|"
    yield from (f"| {name} | {meaning} |" for name, meaning in OTHERS.items())
    yield "\nHTTP_PROXY and its relatives are ignored; see `egress_proxy`."


def _named(name: str, kind: "Kind") -> str:
    return f"{name} (a secret: better its file)" if kind.name == "SECRET" else name


def exit_codes() -> str:
    """The table of the exit codes."""
    rows = [f"| {code:d} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["# Exit codes\n", "| code | meaning |", "|---|---|", *rows]) + "\n"


TOPICS: Mapping[str, Callable[[], str]] = {
    "environment": environment,
    "exit-codes": exit_codes,
    "scopes": lambda: SCOPES,
    "clients": lambda: CLIENTS,
    "guards": lambda: GUARDS,
    "brokers": lambda: BROKERS,
    "troubleshooting": lambda: TROUBLESHOOTING,
}


@click.command("help", cls=Command)
@click.argument("words", metavar="[TOPIC | COMMAND | MESSAGE]", nargs=-1)
def show(words: tuple[str, ...]) -> None:
    """Print a topic, the help of a command, or what a message means and what to do.

    A message may stand as it was printed, or some words of it: bearerd help "no rights on the mount"

    Topics: environment, exit-codes, scopes, clients, guards, brokers, troubleshooting.

    `man` prints the manual page: bearerd help man | man -l -
    """
    root = click.get_current_context().find_root()
    topic = " ".join(words)
    if not topic:
        click.echo(root.get_help())
        click.echo(f"\nTopics: {', '.join(TOPICS)}")
        return
    if topic == "man" and isinstance(root.command, click.Group):
        from proxy.cli.manpage import page

        click.echo(page(root.command, TOPICS), nl=False)
        return
    if topic in TOPICS:
        text = TOPICS[topic]()
        if current().as_json:
            current().data({"topic": topic, "text": text})
        else:
            click.echo(text, nl=False)
        return
    group = root.command
    command = group.get_command(root, topic) if isinstance(group, click.Group) else None
    if command is None:
        _explain(topic)
        return
    with click.Context(command, info_name=topic, parent=root) as ctx:
        click.echo(command.get_help(ctx))


def _explain(asked: str) -> None:
    """What the pages of messages say of this one."""
    from proxy.cli.lookup import look_up

    found = look_up(asked)
    if not found:
        raise click.UsageError(
            f"There is no topic, command or message '{asked}'; topics are {', '.join(TOPICS)}. "
            "Of a message, give a few words without names and numbers."
        )
    if current().as_json:
        entries = [
            {"messages": each.texts, "text": each.explanation, "page": each.page, "section": each.section}
            for each in found
        ]
        current().data({"asked": asked, "entries": entries})
        return
    for entry in found:
        click.echo("\n".join(f"  {text}" for text in entry.texts))
        click.echo(f"{entry.explanation or 'See the page.'}\n(docs/troubleshooting/{entry.page}.md, {entry.section})\n")
