"""Live updates over real sockets: what a page is sent, and how a stream ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.config import Tcp
from proxy.console import live
from tests.callers import eventually
from tests.console.shown import mount, status
from tests.console.visitor import Browser, Inside, View, console_at


class Stream:
    """An open stream, and what has come over it. Without `takes` nothing is read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""

    async def begin(self) -> "Stream":
        async with asyncio.timeout(5):
            self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def news(self) -> dict[str, str]:
        """The next message."""
        async with asyncio.timeout(8):
            while True:
                line = await self.reader.readline()
                if line.startswith(b"data: "):
                    found: dict[str, str] = json.loads(line.removeprefix(b"data: "))
                    return found
                assert line, "the stream has ended"

    async def ended(self) -> bool:
        """Whether it ends by itself."""
        try:
            async with asyncio.timeout(5):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def opened(inside: Inside, place: str = "events", *, limit: int = 1 << 22) -> AsyncIterator[Stream]:
    """A stream of the page of this address."""
    address = inside.browser.console.address
    assert isinstance(address, Tcp)
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=limit)
    head = f"GET {inside.home}{place} HTTP/1.1\r\nHost: {address}\r\nCookie: {inside.cookie}\r\n\r\n"
    writer.write(head.encode())
    try:
        yield Stream(reader, writer)
    finally:
        writer.close()


async def test_a_page_is_told_what_has_changed(inside: Inside, view: View) -> None:
    """First all of its parts, then only those that are another, and nothing that goes by itself."""
    async with opened(inside) as stream:
        await stream.begin()
        assert b"Content-Type: text/event-stream" in stream.head
        assert b"Cache-Control: no-store" in stream.head
        first = await stream.news()
        assert {"top", "needs", "grants", "clients", "charts", "recent-rows"} == first.keys()

        view.shown = status(mount(state="needs-login", usable=False, fix="bearerd login questrade"))
        view.shown["now"] += 7
        second = await stream.news()
        assert {"needs", "grants"} == second.keys() - {"charts"}  # before anything is counted, their time goes on
        assert "needs-login, refuses calls" in second["grants"]


async def test_a_stream_holds_no_secret(inside: Inside) -> None:
    """No form token, so that it is the same for all who look; buttons find it in the page."""
    async with opened(inside) as stream:
        text = json.dumps(await (await stream.begin()).news())
    assert inside.csrf not in text
    assert "csrf" not in text


async def test_a_page_with_scripts_is_not_sent_for_anew(inside: Inside) -> None:
    """Neither while its stream is open nor right after."""
    before = await inside.get("")
    async with opened(inside) as stream:
        await (await stream.begin()).news()
        during = await inside.get("")
    after = await inside.get("")

    assert [True, False, False] == [reply.headers["Refresh"] is not None for reply in (before, during, after)]
    assert ["data-reloads" in reply.body for reply in (before, during)] == [True, False]


async def test_a_stream_is_of_its_address(inside: Inside) -> None:
    """What is filtered on the page is filtered in what comes anew."""
    async with opened(inside, "events?span=24h&mount=questrade") as stream:
        first = await (await stream.begin()).news()
    assert "span=1h&amp;mount=questrade#charts" in first["charts"]


@pytest.mark.parametrize("how", ["log out", "stop"])
async def test_a_stream_ends_with_its_session(inside: Inside, view: View, how: str) -> None:
    """At once; also one from which nobody takes anything, though there is a megabyte to take."""
    view.shown = status(*(mount(f"m{number}") for number in range(250)))
    async with opened(inside) as stream, opened(inside, limit=2048) as stuck:
        await (await stream.begin()).news()
        await stuck.begin()
        if how == "stop":
            async with asyncio.timeout(3):
                await inside.browser.console.stop()
        else:
            assert 200 == (await inside.post("log-out", {})).status
        assert await stream.ended()
        assert await stuck.ended()
    if how == "log out":
        assert 403 == (await inside.get("events")).status


async def test_another_session_s_streams_go_on(inside: Inside, browser: Browser, view: View) -> None:
    """Who logs out does so for one browser."""
    other = await browser.log_in(browser.console.url.partition("?token=")[2])
    async with opened(other) as stream:
        await (await stream.begin()).news()
        await inside.post("log-out", {})
        view.shown = status()
        assert "First steps" in (await stream.news())["needs"]


async def test_streams_are_few(inside: Inside) -> None:
    """One more than a browser may have is 503; when one has gone there is room again."""
    open_ones: list[Any] = [opened(inside) for _ in range(live.MOST_EACH)]
    for each in open_ones:
        await (await each.__aenter__()).begin()
    refused = await inside.get("events")
    assert (503, "10") == (refused.status, refused.headers["Retry-After"])
    await open_ones.pop().__aexit__(None, None, None)
    async for _ in eventually(5):
        async with opened(inside) as stream:
            if b" 200 " in (await stream.begin()).head:
                break
    for each in open_ones:
        await each.__aexit__(None, None, None)


async def test_only_the_session_has_a_stream(inside: Inside, browser: Browser) -> None:
    """And only by a GET of its own page."""
    assert 403 == (await browser.send(f"{inside.home}events")).status
    assert 405 == (await browser.send(f"{inside.home}events", method="POST", Cookie=inside.cookie)).status
    assert 403 == (await inside.get("events", Origin="http://evil.example")).status
    assert 403 == (await inside.get("events", Sec_Fetch_Site="cross-site")).status


async def test_a_console_that_never_showed_a_page_stops(view: View) -> None:
    """There is nothing to end then."""
    console = console_at(Tcp("127.0.0.1", 0), view)
    await console.start()
    await console.stop()
