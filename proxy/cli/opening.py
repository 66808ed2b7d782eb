"""How the demo opens: every grant logged in, two client keys, and a first answer of each broker."""

import asyncio
import http.client
import json
import ssl
import sys
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.exits import Stop
from proxy.cli.ports import HOST
from proxy.cli.stage import CLIENT, DOORS, TRADER, Plan, grants, simulator_of

if TYPE_CHECKING:
    from proxy.simulator.serve import Running

PATIENCE = 20.0  # seconds for every grant to have its token
FIRST = {  # what the first answer of each broker is of
    "questrade": "/v1/accounts",
    "tradier": "/v1/user/profile",
    "alpaca": "/v2/clock",
}


async def set_up(plan: Plan, running: "Running", pid: int) -> dict[str, Any]:
    """Log every grant in and make the two client keys; returns what `--json` prints."""
    async with asyncio.TaskGroup() as group:
        for name in grants():
            group.create_task(_log_in(plan, running, name))
        made = {name: group.create_task(plan.ask("clients-add", name=name)) for name in (CLIENT, TRADER)}
    await _until_ready(plan)
    keys = {name: task.result()["key"] for name, task in made.items()}
    return {
        "pid": pid,
        "url": plan.url,
        "url_tls": plan.url_tls,
        "console": f"http://{HOST}:{plan.console}/?token={plan.token}",
        "client_key": keys[CLIENT],
        "trader_key": keys[TRADER],
        "config": str(plan.config),
        "store": str(plan.store),
        "ca_file": str(plan.ca_file),
        "control": running.control,
        "accounts": {name: list(simulator.links().accounts) for name, simulator in running.simulators.items()},
        "mounts": {name: _addresses(plan, name) for name in DOORS},
    }


def _addresses(plan: Plan, name: str) -> dict[str, str]:
    root = {"root_url": plan.at(plan.roots[name])} if name in plan.roots else {}
    return {"url": f"{plan.url}/{name}", **root}


async def _log_in(plan: Plan, running: "Running", grant: str) -> None:
    """What a person does: paste a token, or press `Allow` on the broker's page. Client credentials need nobody."""
    simulator = simulator_of(running, grant)
    needs = simulator.links().logins[DOORS[grant].login]
    begun = await plan.ask("login-begin", mount=grant)
    match begun["kind"]:
        case "code":
            address = simulator.approve(begun["authorize_url"])
            await plan.ask("login-complete", mount=grant, answer=address)
        case "client-credentials":
            pass
        case _:
            await plan.ask("login", mount=grant, token=needs.get("refresh_token") or needs["secret"])


async def _until_ready(plan: Plan) -> None:
    """Return once every grant has a token. `Stop` if that takes too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await plan.ready():  # noqa: ASYNC110  no event comes from another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        lines = "\n".join((await plan.ask("ready"))["lines"])
        raise Stop(f"not every grant got a token within {PATIENCE:.0f} s:\n{lines}") from None


async def show(report: dict[str, Any]) -> None:
    """The report for a person, and a first answer of each broker with the command that repeats it."""
    answers = [await asyncio.to_thread(_first, report, mount, path) for mount, path in FIRST.items()]
    click.echo(
        f"""\
Simulated brokers, and bearerd in front of them. Nothing leaves this machine.

  bearerd     {report["url"]}
  with TLS    {report["url_tls"]}   trust {report["ca_file"]}; `bearerd run` sees to it
  console     {report["console"]}
  client key  {report["client_key"]}   everything but orders
  trader key  {report["trader_key"]}   orders too
  control     {report["control"]}   GET /state, /faults, /stream; POST /expire, /steal, …
  config      {report["config"]}
  mounts      {" ".join(f"/{name}" for name in report["mounts"])}

{"".join(answers)}Those answers came through bearerd just now. It serves until Ctrl-C."""
    )
    sys.stdout.flush()


def _first(report: dict[str, Any], mount: str, path: str) -> str:
    """The command and its answer. Blocks."""
    status, body = _get(report, f"/{mount}{path}")
    if status != http.client.OK:
        raise Stop(f"the first call to /{mount} was answered with {status}: {body}")
    accept = "-H 'Accept: application/json' " if mount == "tradier" else ""
    trust = f"--cacert {report['ca_file']} " if report["url"].startswith("https:") else ""
    command = f'$ curl {trust}{accept}-H "Authorization: Bearer {report["client_key"]}" {report["url"]}/{mount}{path}'
    return f"{command}\n{json.dumps(json.loads(body), indent=2)}\n\n"


def _get(report: dict[str, Any], path: str) -> tuple[int, str]:
    """One call as any program would make it. Blocks."""
    scheme, _, place = report["url"].partition("://")
    if scheme == "https":
        context = ssl.create_default_context(cafile=report["ca_file"])
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(place, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(place, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {report['client_key']}", "Accept": "application/json"}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
