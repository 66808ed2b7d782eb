"""The page and the way out, over real sockets. Forms are in `test_actions.py`, streams in `test_live.py`."""

from proxy.config import Tcp
from proxy.console.recent import Recent, row_of
from proxy.console.session import COOKIE
from tests.console.shown import NOW
from tests.console.visitor import Browser as Visitor
from tests.console.visitor import Inside, View, console_at


async def test_the_page_says_how_everything_stands(inside: Inside, view: View) -> None:
    """Grants, clients, charts and recent calls, with the form token that its buttons need, and no other secret."""
    call = {"kind": "call", "seq": 1, "time": NOW, "client": "notebook", "method": "GET", "mount": "questrade"}
    view.found = Recent([row_of(call | {"row": "/v1/accounts", "status": 200, "outcome": "broker", "ms": 12})], NOW)
    page = await inside.get("")

    for words in ("questrade", "notebook", "Grants", "Clients", "Activity", "Recent calls", "/questrade/v1/accounts"):
        assert words in page.body
    assert 1 == page.body.count(inside.csrf)
    assert inside.cookie.partition("=")[2] not in page.body
    assert '<script src="/console.js" defer></script>' in page.body


async def test_what_is_sent_for_anew_keeps_its_address(inside: Inside) -> None:
    """But for a note, which is said once."""
    assert "30;url=./?span=24h" == (await inside.get("?span=24h&done=x")).headers["Refresh"]


async def test_there_is_nothing_else_inside(inside: Inside) -> None:
    """Neither in another spelling nor beside it."""
    for place in ("x", "events/", "do", "key", "%68alt", "halt/", "./", "../", "..%2f"):
        assert 404 == (await inside.get(place)).status
    assert 405 == (await inside.get("do/halt")).status
    assert 410 == (await inside.get("key/x")).status


async def test_somebody_logs_out_of_the_console(inside: Inside) -> None:
    """By a form of the session's own; the cookie opens nothing any more, and the browser is told to forget it."""
    refused = [
        await inside.browser.send(f"{inside.home}do/log-out", method="POST", form="csrf=wrong", Cookie=inside.cookie),
        await inside.browser.send(f"{inside.home}do/log-out", method="POST", Cookie=inside.cookie),
    ]
    assert [403, 400] == [reply.status for reply in refused]
    assert 200 == (await inside.get("")).status

    reply = await inside.post("log-out", {})
    assert (200, True) == (reply.status, "You are logged out" in reply.body)
    assert f"{COOKIE}=" in reply.headers["Set-Cookie"]
    assert f"Path={inside.home}" in reply.headers["Set-Cookie"]
    assert "Max-Age=0" in reply.headers["Set-Cookie"]
    assert 403 == (await inside.get("")).status
    assert 403 == (await inside.post("reload", {})).status


async def test_consoles_at_several_addresses_know_nothing_of_each_other(view: View) -> None:
    """Each has its own path, sessions and keys, for the same server."""
    consoles = [console_at(Tcp("127.0.0.1", 0), view) for _ in range(2)]
    for console in consoles:
        await console.start()
    one, other = [await Visitor(console).log_in() for console in consoles]

    assert one.home != other.home
    assert 303 == (await one.post("reload", {})).status
    assert 303 == (await other.post("reload", {})).status
    assert 403 == (await other.browser.send(other.home, Cookie=one.cookie)).status
    strange = await other.browser.send(one.home, Cookie=one.cookie)
    assert (403, True) == (strange.status, "opens with a link" in strange.body)  # as after a restart
    for console in consoles:
        await console.stop()
