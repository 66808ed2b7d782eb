"""`bearerd login` over the broker's page: at a terminal, without one, with and without a server."""

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.simulator.questrade.broker import Questrade
from tests.cli.support import Person
from tests.cli.terminal import Terminal, free_port
from tests.consent import APP, parameters, with_parameters
from tests.house import simulated
from tests.product import Done, Program, run
from tests.wire import Reply, connected

NAVIGATION = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


@dataclass
class Customer:
    """Somebody with a configuration whose grant logs in over the page of a simulated broker."""

    person: Person
    simulator: Questrade
    back: str

    @property
    def home(self) -> Path:
        return self.person.home

    async def run(self, *arguments: str, **how: Any) -> Done:
        return await asyncio.to_thread(run, self.home, *arguments, **how)

    async def start(self, *arguments: str) -> Program:
        return await asyncio.to_thread(self.person.start, *arguments)

    async def serve(self) -> None:
        _ = await asyncio.to_thread(self.person.serve)
        status = (await self.run("status", "--json")).document
        self.back = f"{status['console']}callback"
        self.simulator.options.callback = self.back

    async def address(self, program: Program) -> str:
        """The address that a command tells to open."""
        await asyncio.to_thread(program.until, "state=")
        await asyncio.to_thread(program.until, "Waiting for the browser")
        return address_in(program.err)


def address_in(text: str) -> str:
    found = re.search(r"https://\S+/authorize\?\S+", text)
    assert found is not None, text
    return found[0]


async def browse(address: str, *headers: str) -> Reply:
    """What a browser gets that is sent to `address`, and on to the last page."""
    reply = await request(address, *headers)
    onwards = reply.one("Location")
    if onwards is not None:
        await request(f"{address.partition('/callback')[0]}{onwards}")
    return reply


async def request(address: str, *headers: str) -> Reply:
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", *(headers or NAVIGATION)]
    async with connected(parts.hostname, parts.port) as wire:
        await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        reply: Reply = await wire.reply()
        return reply


@pytest.fixture(name="customer")
async def _customer(state_dir: Path) -> AsyncIterator[Customer]:
    person = Person(state_dir)
    async with simulated(state_dir) as simulator:
        back = f"http://127.0.0.1:{free_port()}/callback"
        simulator.options.callback = back
        grant = {"login": "code", "client_id": APP, "redirect_uri": back}
        person.write_config(
            "simulator",
            {"questrade": {"environments": {"simulator": simulator.links().environment}}},
            **{"clients:": f"grants: {json.dumps({'questrade': grant})}\nclients:"},
        )
        assert 0 == (await asyncio.to_thread(person.run, "init")).code
        try:
            yield Customer(person, simulator, back)
        finally:
            await asyncio.to_thread(person.close)


async def logged_in(customer: Customer) -> bool:
    """Whether a server that starts now needs no login."""
    await asyncio.to_thread(customer.person.serve)
    return (await customer.run("status")).code == 0


async def test_the_browser_comes_back_to_the_command(customer: Customer) -> None:
    """Without a server the command itself listens, as long as it runs, and shows the last page."""
    login = await customer.start("login", "questrade")
    answer = customer.simulator.approve(await customer.address(login))
    sent_on = await request(answer)
    page = await request(customer.back.replace("/callback", sent_on.one("Location") or ""))

    assert (303, 200, True) == (sent_on.status, page.status, b"Logged in" in page.body)
    assert 0 == await asyncio.to_thread(login.end)
    assert "questrade is logged in at questrade (simulator)" in login.out
    assert parameters(answer)["code"] not in login.output
    assert await logged_in(customer)


async def test_a_hostile_answer_does_not_end_the_wait(customer: Customer) -> None:
    """An invented state, a script of a page, another path: the login goes on, and the right answer completes it."""
    login = await customer.start("login", "questrade")
    answer = customer.simulator.approve(await customer.address(login))
    posts = customer.simulator.state()["token_posts"]
    hostile = [
        (303, with_parameters(answer, state="invented"), ()),
        (303, with_parameters(answer, state=None), ()),
        (403, answer, ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")),
        (403, answer, (*NAVIGATION, "Origin: https://evil.example")),
        (404, answer.replace("/callback", "/"), ()),
    ]
    for status, address, headers in hostile:
        assert status == (await browse(address, *headers)).status
    assert posts == customer.simulator.state()["token_posts"]
    assert None is login.code
    await browse(answer)

    assert 0 == await asyncio.to_thread(login.end)


async def test_a_login_that_was_declined_ends_the_command(customer: Customer) -> None:
    """With the reason; nothing was posted."""
    login = await customer.start("login", "questrade")
    answer = customer.simulator.approve(await customer.address(login))
    await browse(with_parameters(answer, code=None, error="access_denied"))

    assert 1 == await asyncio.to_thread(login.end)
    assert "declined" in login.err
    assert 0 == customer.simulator.state()["token_posts"]


async def test_a_running_server_takes_the_browser_back(customer: Customer) -> None:
    """On its console; the command hears of it and ends."""
    config = customer.person.config
    config.write_text(re.sub(r', "redirect_uri": "[^"]*"', "", config.read_text()))
    await customer.serve()
    login = await customer.start("login", "questrade")
    await browse(customer.simulator.approve(await customer.address(login)))

    assert 0 == await asyncio.to_thread(login.end)
    assert "questrade is logged in" in login.out
    assert 0 == (await customer.run("status")).code


async def test_a_server_whose_console_is_elsewhere_lets_the_command_listen(customer: Customer) -> None:
    """The redirect address is the command's own, and the server does the exchange."""
    await asyncio.to_thread(customer.person.serve)
    login = await customer.start("login", "questrade", "--json")
    await browse(customer.simulator.approve(await customer.address(login)))

    assert 0 == await asyncio.to_thread(login.end)
    assert ("fresh", 1) == tuple(json.loads(login.out)[name] for name in ("state", "generation"))
    assert 0 == (await customer.run("status")).code


@pytest.mark.parametrize("served", [False, True], ids=["alone", "with a server"])
async def test_a_script_logs_in_by_halves(customer: Customer, served: bool) -> None:
    """Begin, carry the answer over, complete; an answer that was used is refused, and never repeated."""
    if served:
        await asyncio.to_thread(customer.person.serve)
    begun = (await customer.run("login", "questrade", "--non-interactive")).document
    names = ("kind", "redirect_uri", "expires_in", "callback")
    assert ("code", customer.back, 600, False) == tuple(begun[name] for name in names)
    assert "bearerd login questrade --complete" in begun["next_step"]
    answer = customer.simulator.approve(begun["authorize_url"])
    done = await customer.run("login", "questrade", "--complete", "--json", stdin=answer + "\n")
    assert (0, "fresh") == (done.code, done.document["state"]), done.err

    again = await customer.run("login", "questrade", "--complete", environ={"BEARERD_LOGIN_ANSWER": answer})
    assert (1, True) == (again.code, "used already" in again.err)
    for secret in parameters(answer).values():
        assert secret not in done.output + again.output


async def test_nobody_to_come_back_to_is_said_at_once(customer: Customer) -> None:
    """A page of one's own needs a person who pastes, or a script in two steps."""
    config = customer.person.config
    config.write_text(config.read_text().replace(customer.back, "https://ada.example/back"))
    done = await customer.run("login", "questrade")

    assert 1 == done.code
    assert "To fix: bearerd login questrade --non-interactive" in done.err


async def test_at_a_terminal_the_address_is_pasted(customer: Customer) -> None:
    """Wrong ones are told, nothing that is typed is shown, and no command line holds the state."""
    terminal = Terminal(customer.home, "login", "questrade")
    try:
        shown = await terminal.until("press Enter")
        answer = customer.simulator.approve(address_in(shown))
        terminal.type("nonsense")
        await terminal.until("That was not it")
        terminal.type(with_parameters(answer, state="invented-state"))
        await terminal.until("no login waits for this answer")
        terminal.type(answer)

        assert 0 == await terminal.code(), terminal.shown
    finally:
        terminal.close()
    assert "questrade is logged in" in terminal.shown
    assert parameters(answer)["code"] not in terminal.shown
    assert "invented-state" not in terminal.shown
    assert parameters(answer)["state"] not in (customer.home / "browser.argv").read_text()
    assert parameters(answer)["state"] in (customer.home / "browser.page").read_text()
    assert [] == list(customer.home.glob("state/login-*"))


async def test_an_address_that_another_program_half_has_is_not_waited_at(customer: Customer) -> None:
    """`localhost` is two addresses, and nobody knows which of them the browser takes."""
    port = urlsplit(customer.back).port
    config = customer.person.config
    config.write_text(config.read_text().replace(customer.back, f"http://localhost:{port}/callback"))
    with socket.create_server(("127.0.0.1", port or 0)):
        done = await customer.run("login", "questrade")

    assert (1, True) == (done.code, "nobody here can take the browser back" in done.err)


async def test_a_person_who_has_no_address_gives_up(customer: Customer) -> None:
    """The end of input ends the command where nothing else could."""
    config = customer.person.config
    config.write_text(config.read_text().replace(customer.back, "https://ada.example/back"))
    terminal = Terminal(customer.home, "login", "questrade", "--no-browser")
    try:
        assert "Paste the address" in await terminal.until("press Enter")
        terminal.type("\x04")

        assert 1 == await terminal.code()
    finally:
        terminal.close()
    assert "no address was given" in terminal.shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_login_that_is_broken_off_leaves_nothing_behind(customer: Customer, number: signal.Signals) -> None:
    """No page with the state in it, and a terminal that shows what is typed."""
    terminal = Terminal(customer.home, "login", "questrade")
    try:
        await terminal.until("press Enter")
        async with asyncio.timeout(20):
            while terminal.echoes or not list(customer.home.glob("state/login-*")):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.01)
        terminal.signal(number)

        assert 1 == await terminal.code(), terminal.shown
        assert terminal.echoes
    finally:
        terminal.close()
    assert [] == list(customer.home.glob("state/login-*"))


async def test_without_a_browser_only_the_address_is_shown(customer: Customer) -> None:
    """And it can still come back by itself."""
    terminal = Terminal(customer.home, "login", "questrade", "--no-browser")
    try:
        answer = customer.simulator.approve(address_in(await terminal.until("press Enter")))
        await browse(answer)

        assert 0 == await terminal.code(), terminal.shown
    finally:
        terminal.close()
    assert not (customer.home / "browser.argv").exists()
