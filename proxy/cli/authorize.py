"""A login over the broker's own page, at a terminal: open the browser, and wait until it has come back.

It may come back to the server's console; where no server can take it, to a listener that is open for as long as this
command runs; or somebody pastes the address that the browser ended up at. Whichever is first.
"""

import asyncio
import contextlib
import errno
import html
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from proxy.admin import CommandFailed, call
from proxy.cli.exits import Stop
from proxy.cli.invocation import Invocation
from proxy.cli.server import PATIENCE, answers, operate
from proxy.config import Tcp
from proxy.console.callback import Callback, Outcome
from proxy.console.page import Pages
from proxy.custody import socket_path
from proxy.errors import Refusal, render
from proxy.gate.browser import Hosts
from proxy.listener import Listener, open_listener
from proxy.settings import Settings
from proxy.tokens.errands import LoginFailed
from proxy.tokens.redirect import LONGEST, place

LINGER = 5.0  # seconds for the browser to fetch the last page before our listener closes
_STYLE_TOO = 0.3  # and for its style sheet
_HOSTS = {"127.0.0.1": ("127.0.0.1",), "localhost": ("127.0.0.1", "::1"), "::1": ("::1",)}
_ENDS = (signal.SIGTERM, signal.SIGHUP)
_WAIT = 50.0  # seconds of one question to the server, which must stay below its patience

Way = Callable[[], Coroutine[Any, Any, object]]


class Authorization:
    """One login over the broker's page, from the address that opens it to its end. `begun` is `login-begin`'s answer.

    Answers are tried one at a time. `came_back` says that it was the browser that ended it, at our own listener.
    """

    def __init__(self, invocation: Invocation, settings: Settings, mount: str, begun: dict[str, Any]) -> None:
        self._invocation = invocation
        self._settings = settings
        self._mount = mount
        self._begun = begun
        self.came_back = False
        self._one_at_a_time = asyncio.Lock()
        self._end: asyncio.Future[dict[str, Any] | str] = asyncio.get_running_loop().create_future()

    async def end(self) -> dict[str, Any] | str:
        """What the login has brought, or why nothing."""
        return await asyncio.shield(self._end)

    async def browser_is_back(self, address: str) -> Outcome:
        """The same, of a browser that has come back to our own listener."""
        outcome = await self.try_answer(address)
        self.came_back |= outcome.grant is not None
        return outcome

    async def try_answer(self, answer: str) -> Outcome:
        """Complete the login with an address that somebody came by. One that belongs to no login ends nothing."""
        async with self._one_at_a_time:
            if self._end.done():
                return Outcome(None, problem="this login has ended")
            try:
                done = await self._operate("login-complete", answer=answer)
            except (CommandFailed, LoginFailed) as error:
                problem = str(error)
            else:
                self.finish(done)
                return Outcome(done["grant"], done)
            if await self._under_way():
                return Outcome(None, problem=problem)
            self.finish(problem)
            return Outcome(self._begun["grant"], problem=problem)

    def finish(self, end: dict[str, Any] | str) -> None:
        """What the login has brought, or why nothing. Several may hear of it; the first counts."""
        if not self._end.done():
            self._end.set_result(end)

    async def at_the_server(self) -> None:
        """Wait for the browser to come back to the server's console."""
        socket, params = socket_path(self._settings.config), {"mount": self._mount, "id": self._begun["id"]}
        while not self._end.done():
            try:
                found = await call(socket, "login-wait", params | {"seconds": _WAIT}, timeout=PATIENCE)
            except CommandFailed as error:
                found = {"done": True, "failed": str(error)}
            if found.pop("done"):
                self.finish(found.get("failed") or found)

    async def _under_way(self) -> bool:
        try:
            await self._operate("login-wait", id=self._begun["id"], seconds=0)
        except (CommandFailed, LoginFailed):
            return False
        return True

    async def _operate(self, command: str, **params: Any) -> dict[str, Any]:
        wish = {"mount": self._mount} | params
        return await operate(self._invocation, self._settings, command, wish, mount=self._mount)


async def log_in(invocation: Invocation, settings: Settings, mount: str, *, browser: bool, ask: bool) -> dict[str, Any]:
    """The whole login. `browser`: open one; `ask`: take an address that is pasted. Raises `LoginFailed` and `Stop`."""
    with _ends_by_signal() as broken_off:
        try:
            return await _log_in(invocation, settings, mount, browser=browser, ask=ask)
        except asyncio.CancelledError:
            if not broken_off:
                raise
            raise Stop("the login was broken off") from None


@contextlib.contextmanager
def _ends_by_signal() -> Iterator[list[int]]:
    """Cancel the task for SIGTERM and SIGHUP within the block, and note which it was.

    By themselves they would leave the page for the browser behind, and a terminal that shows nothing.
    """
    loop, task, seen = asyncio.get_running_loop(), asyncio.current_task(), list[int]()

    def end(number: int) -> None:
        seen.append(number)
        if task is not None:
            task.cancel()

    for number in _ENDS:
        loop.add_signal_handler(number, end, number)
    try:
        yield seen
    finally:
        for number in _ENDS:
            loop.remove_signal_handler(number)


async def _log_in(
    invocation: Invocation, settings: Settings, mount: str, *, browser: bool, ask: bool
) -> dict[str, Any]:
    served = await answers(settings)
    begun = await operate(invocation, settings, "login-begin", {"mount": mount}, mount=mount)
    login = Authorization(invocation, settings, mount, begun)
    async with contextlib.AsyncExitStack() as stack:
        ways: list[Way] = []
        if served and begun["callback"]:
            ways.append(login.at_the_server)
        elif await stack.enter_async_context(listening(begun["redirect_uri"], login)):
            ways.append(asyncio.Event().wait)
        elif not ask:
            fix = f"bearerd login {mount} --non-interactive, then: bearerd login {mount} --complete"
            raise Stop(f"nobody here can take the browser back at {begun['redirect_uri']}", fix=fix)
        _tell(begun, comes_back=bool(ways), ask=ask)
        if ask:
            alone = not ways
            ways.append(lambda: _pasted(login, alone=alone))
        if browser:
            await stack.enter_async_context(_opened(begun["authorize_url"], settings.config.state_dir))
        ended = await _first(login, ways, begun["expires_in"])
    if isinstance(ended, str):
        raise LoginFailed(ended)
    return ended


async def _first(login: Authorization, ways: list[Way], seconds: float) -> dict[str, Any] | str:
    """The end of the login, whichever way it comes."""
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            tasks = [group.create_task(way()) for way in ways]
            ended = await login.end()
            for task in tasks:
                task.cancel()
    except TimeoutError:
        return f"nobody has completed the login within {seconds / 60:.0f} minutes; begin it anew"
    return ended


def _tell(begun: dict[str, Any], *, comes_back: bool, ask: bool) -> None:
    click.echo(f"To log {begun['grant']} in, open this address in a browser:\n\n  {begun['authorize_url']}\n", err=True)
    if comes_back:
        click.echo(f"Waiting for the browser to come back, {begun['expires_in'] / 60:.0f} minutes at most.", err=True)
    if ask:
        when = "If it can't reach this machine, paste" if comes_back else "Paste"
        click.echo(f"{when} the address that it ended up at here (not shown), and press Enter.", err=True)


# -- the browser comes back to us -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening(redirect_uri: str, login: Authorization) -> AsyncIterator[bool]:
    """Take the browser back at `redirect_uri` within the block; False if that is not this machine, or not free."""
    scheme, host, port, path = place(redirect_uri)
    pages = await asyncio.to_thread(Pages)
    callback = Callback(login.browser_is_back, pages, path=path)
    shown = asyncio.Event()

    async def answer(listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path == "/console.css":
            return web.Response(body=pages.css, headers={"Content-Type": "text/css; charset=utf-8"})
        try:
            found = await callback.handle(request, Hosts(listener.names))
        except Refusal as refusal:
            rendered = render(refusal, request_id="-")
            return web.Response(status=rendered.status, body=rendered.body, headers=rendered.headers)
        if found is not None and found.status != HTTPStatus.SEE_OTHER:
            shown.set()
        return found or web.Response(status=HTTPStatus.NOT_FOUND, text="There is no such page.\n")

    async with contextlib.AsyncExitStack() as stack:
        opened: list[Listener] = []
        taken = False
        for address in _HOSTS.get(host, ()) if scheme == "http" else ():
            try:
                opened.append(await open_listener(Tcp(address, port), answer, grace=1.0))
                stack.push_async_callback(opened[-1].close)
            except OSError as error:  # a machine without IPv6 does with one address of two
                taken |= error.errno in (errno.EADDRINUSE, errno.EACCES)
        yield bool(opened) and not taken
        if login.came_back:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await shown.wait()
                await asyncio.sleep(_STYLE_TOO)


# -- the person -------------------------------------------------------------------------------------------------------


async def _pasted(login: Authorization, *, alone: bool) -> None:
    """Try each line that is typed, until the end of input. It is not shown: it holds the code."""
    terminal = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    with _echo_off(terminal):
        loop.add_reader(terminal, lambda: lines.put_nowait(os.read(terminal, LONGEST)))
        try:
            while line := await lines.get():
                outcome = await login.try_answer(line.decode("utf-8", "replace")) if line.strip() else Outcome(None)
                if outcome.problem and outcome.grant is None:
                    click.echo(f"That was not it: {outcome.problem}.", err=True)
        finally:
            loop.remove_reader(terminal)
    if alone:
        login.finish("no address was given")


@contextlib.contextmanager
def _echo_off(terminal: int) -> Iterator[None]:
    import termios

    before = termios.tcgetattr(terminal)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.asynccontextmanager
async def _opened(url: str, directory: Path) -> AsyncIterator[None]:
    """Send the browser to `url` by a file that only we can read: command lines are for everybody to see."""
    page = await asyncio.to_thread(_way_on, url, directory)
    screen = {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys() or sys.platform == "darwin"
    if screen:  # else it would be a browser in this terminal
        # Some browsers return only when they are closed.
        threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
    try:
        yield
    finally:
        await asyncio.to_thread(page.unlink, missing_ok=True)


def _way_on(url: str, directory: Path) -> Path:
    """A file of mode 0600, a page that leads on to `url`."""
    descriptor, name = tempfile.mkstemp(prefix="login-", suffix=".html", dir=directory)
    link = html.escape(url)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>bearerd</title>'
            f'<meta http-equiv="refresh" content="0;url={link}"><p><a href="{link}">Go on to the broker</a></p>\n'
        )
    return Path(name)
