"""`bearerd demo`: simulated brokers in this process, bearerd in front of them in one of its own."""

import asyncio
import http.client
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.child import Child
from proxy.cli.exits import Stop
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.ports import HOST, reserve, reserve_near
from proxy.cli.serve import CONSOLE_TOKEN
from proxy.cli.simulate import stop_on_signals

if TYPE_CHECKING:
    from proxy.simulator.serve import Running

PORT = 8080
CLIENT, TRADER = "demo", "trader"
ENVIRONMENT = "simulator"
SOURCE = "/v1/accounts"  # what the first answer is of


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65000), help="First port; 0 takes free ones. Default: 8080, if free.")
@click.option("--keep", is_flag=True, help="Leave configuration and store behind.")
@click.option("--expires-in", type=click.IntRange(1, 86400), default=1800, help="Life of an access token, in seconds.")
def demo(port: int | None, expires_in: int, *, keep: bool) -> None:
    """The whole product, offline: simulated brokers, and bearerd in front of them, logged in.

    With --json one line on stdout says where everything is, once everything is ready. Runs until SIGTERM or Ctrl-C.
    """
    asyncio.run(_run(current(), port, expires_in, keep=keep))


async def _run(invocation: Invocation, port: int | None, expires_in: int, *, keep: bool) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(_work(invocation, port, expires_in, keep=keep))
        await stopping.wait()
        work.cancel()


async def _work(invocation: Invocation, port: int | None, expires_in: int, *, keep: bool) -> None:
    """Build everything up, print where it is, hold bearerd up; when cancelled, put everything away."""
    from proxy.simulator import serve
    from proxy.simulator.questrade.options import Options

    async with AsyncExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bearerd-demo-"))
        stack.callback(_leave, invocation, directory, keep=keep)
        # A thread that was making files when we were cancelled goes on; the directory goes after it.
        stack.push_async_callback(asyncio.get_running_loop().shutdown_default_executor)
        running = await serve.start(directory=directory / "ca", options=Options(expires_in=expires_in))
        stack.push_async_callback(running.stop)
        needed = 2 + len(running.simulators)
        ports, held = reserve_near(needed, PORT) if port is None else reserve(needed, port)
        stack.callback(held.close)
        plan = await asyncio.to_thread(Plan.make, directory, ports, running)
        child = Child(["serve", "-q", "-c", str(plan.config)], plan.environ, invocation.say)
        stack.push_async_callback(child.stop)
        await child.start()
        await child.until(plan.answers)
        report = await _set_up(plan, running, child.pid)
        if invocation.as_json:
            invocation.data(report)
        else:
            await _show(report)
        await child.keep_up()


@dataclass(frozen=True, slots=True)
class Plan:
    """The demo's files and addresses."""

    config: Path
    store: Path
    listen: int
    console: int
    roots: Mapping[str, int]
    token: str
    environ: Mapping[str, str]

    @classmethod
    def make(cls, directory: Path, ports: list[int], running: "Running") -> "Plan":
        """Write configuration, master key and console token; each mount gets a root port of its own."""
        from proxy.config.plain import to_yaml
        from proxy.store.files import write_private
        from proxy.store.keys import Source

        token, token_file = secrets.token_urlsafe(24), directory / "console.token"
        write_private(token_file, token.encode())
        Source("file:master.key", directory).create()
        roots = dict(zip(running.simulators, ports[2:], strict=True))
        config = directory / "config.yaml"
        write_private(config, to_yaml(configuration(ports[0], ports[1], roots, running)).encode())
        environ = {f"{CONSOLE_TOKEN}_FILE": str(token_file)}
        return cls(config, directory / "store.db", ports[0], ports[1], roots, token, environ)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.listen}"

    async def answers(self) -> bool:
        """Whether bearerd is up."""
        from proxy.admin import ServerGone

        try:
            await self.ask("ready")
        except ServerGone:
            return False
        return True

    async def ask(self, command: str, **params: str) -> dict[str, Any]:
        """One command to bearerd."""
        from proxy.admin import call

        return await call(self.store.parent / "admin.sock", command, params, timeout=60)


def configuration(listen: int, console: int, roots: Mapping[str, int], running: "Running") -> dict[str, Any]:
    """The demo's configuration. Mounts allow everything, so that only the client's key decides."""
    from proxy.brokers import builtin

    mounts: dict[str, Any] = {}
    rights: dict[str, dict[str, list[str]]] = {CLIENT: {}, TRADER: {}}
    brokers: dict[str, Any] = {}
    for name, simulator in running.simulators.items():
        broker = builtin(name)
        orders = {row.scope for row in broker.table.rows if row.mutating}
        mounts[name] = {"broker": name, "environment": ENVIRONMENT, "scopes": [*broker.scopes], "port": roots[name]}
        rights[CLIENT][name] = [scope for scope in broker.scopes if scope not in orders]
        rights[TRADER][name] = [*broker.scopes]
        brokers[name] = {"environments": {ENVIRONMENT: dict(simulator.links().environment)}}
    return {
        "version": 1,
        "listen": f"{HOST}:{listen}",
        "console": f"{HOST}:{console}",
        "store": "sqlite:store.db",
        "key": "file:master.key",
        "mounts": mounts,
        "clients": rights,
        "brokers": brokers,
        "shutdown": {"grace": 10},
    }


async def _set_up(plan: Plan, running: "Running", pid: int) -> dict[str, Any]:
    """Log every mount in and make the two client keys; returns what `--json` prints."""
    for name, simulator in running.simulators.items():
        await plan.ask("login", mount=name, token=simulator.links().refresh_token or "")
    keys = {name: (await plan.ask("clients-add", name=name))["key"] for name in (CLIENT, TRADER)}
    return {
        "pid": pid,
        "url": plan.url,
        "console": f"http://{HOST}:{plan.console}/?token={plan.token}",
        "client_key": keys[CLIENT],
        "trader_key": keys[TRADER],
        "config": str(plan.config),
        "store": str(plan.store),
        "ca_file": str(running.ca_file),
        "control": running.control,
        "accounts": {name: list(simulator.links().accounts) for name, simulator in running.simulators.items()},
        "mounts": {
            name: {"url": f"{plan.url}/{name}", "root_url": f"http://{HOST}:{root}"}
            for name, root in plan.roots.items()
        },
    }


async def _show(report: dict[str, Any]) -> None:
    """The report for a person, and a first answer through bearerd with the command that repeats it."""
    status, body = await asyncio.to_thread(_get, report["url"], f"/questrade{SOURCE}", report["client_key"])
    if status != http.client.OK:
        raise Stop(f"the first call was answered with {status}: {body}")
    click.echo(
        f"""\
A simulated Questrade, and bearerd in front of it. Nothing leaves this machine.

  bearerd     {report["url"]}
  console     {report["console"]}
  client key  {report["client_key"]}   everything but orders
  trader key  {report["trader_key"]}   orders too
  control     {report["control"]}   GET /state, GET /faults; POST /expire, /steal, …
  config      {report["config"]}

$ curl -H "Authorization: Bearer {report["client_key"]}" {report["url"]}/questrade{SOURCE}
{json.dumps(json.loads(body), indent=2)}

That answer came through bearerd just now. It serves until Ctrl-C."""
    )
    sys.stdout.flush()


def _get(url: str, path: str, key: str) -> tuple[int, str]:
    """One call as any program would make it. Blocks."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _leave(invocation: Invocation, directory: Path, *, keep: bool) -> None:
    if keep:
        invocation.say(f"Configuration and store are in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
