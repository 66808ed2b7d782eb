"""The part of the stage in which a person logs in over the broker's page: well, badly, and by a browser."""

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.simulator.questrade.options import Options
from tests.callers import ask
from tests.consent import parameters, with_parameters
from tests.product import run

if TYPE_CHECKING:
    from tests.stage import Stage

GRANT = "paged"
HEADERS = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


def with_page(document: dict[str, Any]) -> dict[str, Any]:
    """The configuration with one more mount, whose grant logs in over the broker's page."""
    mount = {"broker": "questrade", "environment": "simulator", "scopes": ["read_acc"], "grant": GRANT}
    document["mounts"][GRANT] = mount
    document["grants"] = {GRANT: {"login": "code", "client_id": Options().client_id}}
    return document


async def _allowed(stage: "Stage", name: str) -> str:
    """Begin, and allow at the broker: the address that it leads back to, its parts known as secrets.

    The address that opens the login is for the person who asked for it: what that command prints is not searched.
    """
    done = await asyncio.to_thread(run, stage.directory, "login", GRANT, "--non-interactive", "-c", "config.yaml")
    assert 0 == done.code, done.output
    answer = stage.simulator.approve(json.loads(done.out)["authorize_url"])
    for part, text in parameters(answer).items():
        stage.secret(f"{part} {name}", text)
    return answer


async def _browse(stage: "Stage", address: str, **headers: str) -> None:
    """What a browser sees that is sent there, and on to the last page."""
    parts = urlsplit(address)
    reply = await ask(stage.console, "GET", f"{parts.path}?{parts.query}", **(headers or HEADERS))
    stage.note("answers to redirects", reply.raw)
    if "location" in reply.headers:
        stage.note("answers to redirects", (await ask(stage.console, "GET", reply.headers["location"], **HEADERS)).raw)


async def log_in_over_the_page(stage: "Stage") -> None:
    """Answers of every kind to the console and to the command, then one that is good in each way."""
    stage.simulator.options.callback = f"{stage.console}/callback"
    answer = await _allowed(stage, "refused")
    for change in ({"state": None}, {"state": stage.secret("invented state")}):
        await _browse(stage, with_parameters(answer, **change))
    await _browse(stage, answer, Origin="https://login.example")
    await _browse(stage, answer, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
    await _browse(stage, with_parameters(answer, code=stage.secret("invented code")))
    await _browse(stage, answer)
    declined = {"code": None, "error": stage.secret("unknown error"), "error_description": stage.secret("description")}
    await _browse(stage, with_parameters(await _allowed(stage, "declined"), **declined))
    await _browse(stage, f"{await _allowed(stage, 'doubled')}&code=x")

    await _browse(stage, await _allowed(stage, "by the browser"))
    answer = await _allowed(stage, "pasted")
    await stage.bearerd("login", GRANT, "--complete", stdin=answer)
    again = {"BEARERD_LOGIN_ANSWER": answer}
    await stage.bearerd("login", GRANT, "--complete", code=1, environ=again, surface="bearerd login, used answer")
    spaced = f"{answer} {stage.secret('after a space')}"
    await stage.bearerd("login", GRANT, "--complete", code=1, stdin=spaced, surface="bearerd login, malformed answer")
