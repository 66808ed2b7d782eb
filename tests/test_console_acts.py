"""The whole product, run from its console: what is done there counts at once, for all workers, and is on record."""

import asyncio
import re
from pathlib import Path

from proxy.config import Tcp
from tests.console.visitor import Browser, Inside, Place
from tests.house import House, house
from tests.test_acts_on_record import acts
from tests.workers.house import ORDER, ORDERS, staffed

CONSOLE = ('console: "off"', 'console: ["127.0.0.1:0", "[::1]:0"]')
TOKEN = "t" * 24


async def entered(home: House) -> Inside:
    return await Browser(home.app.consoles[0]).log_in(TOKEN)


async def key_of(inside: Inside, place: str) -> str:
    (found,) = re.findall(r'<code id="key">(brd_\w+)</code>', (await inside.get(place)).body)
    return str(found)


async def test_a_day_at_the_console(state_dir: Path) -> None:
    """Log in, make a key, halt, resume, replace the key, reload, remove it, log out: each counts for the next call."""
    async with house(state_dir, CONSOLE, login=False) as home:
        inside = await entered(home)
        token = home.simulator.links().refresh_token or ""
        assert "questrade is logged in" in (await done(inside, "log-in", grant="questrade", token=token)).decode()

        place = (await inside.post("client-add", {"name": "bot"})).headers["Location"]
        home.key = await key_of(inside, place)
        assert 200 == (await home.order()).status

        assert b"Halted: every mount" in await done(inside, "halt", reason="fat finger")
        refused = await home.order()
        assert (403, True) == (refused.status, "by console: fat finger" in refused.document["detail"])
        assert b"Nothing is halted now" in await done(inside, "resume", reason="checked")
        assert 200 == (await home.order()).status

        made = await inside.post("client-rotate", {"name": "bot", "number": "2", "overlap": "0s", "confirmed": "yes"})
        old, home.key = home.key, await key_of(inside, made.headers["Location"])
        assert [401, 200] == [
            (await home.call("GET", "/questrade/v1/accounts", key=key)).status for key in (old, home.key)
        ]

        await home.rewrite(("[read_acc, read_md, trade]", "[read_acc, read_md]"))
        assert b"The configuration is loaded; changed: " in await done(inside, "reload")
        assert 403 == (await home.order()).status

        assert b"removed, and refused from now on" in await done(inside, "client-remove", name="bot", confirmed="yes")
        assert 401 == (await home.call("GET", "/questrade/v1/accounts")).status
        assert b"is revoked here" in await done(inside, "revoke", grant="questrade", confirmed="yes")
        assert "none" == home.app.operations.status()["mounts"][0]["state"]

        found = await acts(home)
        assert {"console"} == {who for _, who, _, _ in found}
        assert [
            "login", "clients-add", "halt", "resume", "clients-rotate", "reload", "clients-remove", "revoke",
        ] == [act for act, _, _, _ in found]  # fmt: skip
        trail = b"".join(path.read_bytes() for path in (state_dir / "audit").rglob("*.jsonl"))
        assert [] == [secret for secret in (token, old, home.key, inside.csrf) if secret.encode() in trail]


async def done(inside: Inside, act: str, **form: str) -> bytes:
    """What the page says of an act."""
    reply = await inside.post(act, form)
    assert 303 == reply.status, reply.body
    page = await inside.get(reply.headers["Location"])
    return page.body.partition("<main")[2].partition("</div>")[0].encode()


async def test_what_failed_is_on_record_too(state_dir: Path) -> None:
    """With who asked for it; the page says why, and the secret is nowhere."""
    async with house(state_dir, CONSOLE) as home:
        inside = await entered(home)
        reply = await inside.post("log-in", {"grant": "questrade", "token": "canary-spent-token"})

        assert (409, True) == (reply.status, "works once" in reply.body)
        assert "canary" not in reply.body
        assert ("login", "console", "failed", {"mount": "questrade"}) == (await acts(home))[-1]
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_both_addresses_show_the_same_server(state_dir: Path) -> None:
    """With a session each, and a token that lets in at one of them; what is done at one is seen at the other."""
    async with house(state_dir, CONSOLE) as home:
        one = await entered(home)
        assert None is (await Browser(home.app.consoles[1]).send(f"/?token={TOKEN}")).headers["Set-Cookie"]
        token = home.app.consoles[1].url.partition("?token=")[2]
        other = await Browser(home.app.consoles[1]).log_in(token)
        assert one.home != other.home
        await one.post("halt", {"reason": "fat finger"})
        assert "by console: fat finger" in (await other.get("")).body
        assert 403 == (await other.browser.send(other.home, Cookie=one.cookie)).status


async def test_a_configuration_that_can_t_be_read_is_explained(state_dir: Path) -> None:
    """With the place; the old one serves on, and the page says so until it is mended."""
    async with house(state_dir, CONSOLE) as home:
        inside = await entered(home)
        await home.rewrite(("mounts:", "mount:"))
        reply = await inside.post("reload", {})

        assert (409, True) == (reply.status, "config.yaml:" in reply.body)
        assert "did you mean" in reply.body
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


async def test_recent_calls_come_from_the_trail(state_dir: Path) -> None:
    """As rows of the broker's table, without an account's number, and filtered as the address says."""
    async with house(state_dir, CONSOLE) as home:
        await home.order()
        await home.call("GET", "/questrade/v1/accounts")
        await asyncio.sleep(1.1)  # reads are on the disk within a second
        inside = await entered(home)
        page, orders = await inside.get(""), await inside.get("?orders=1")

        assert "/questrade/v1/accounts/{account}/orders" in page.body
        assert "26598145" not in page.body
        assert [2, 1] == [reply.body.partition('id="recent-rows"')[2].count("<tr>") - 1 for reply in (page, orders)]


async def test_an_act_counts_for_every_worker(state_dir: Path) -> None:
    """Once the page says so, and not sooner or later."""
    async with staffed(state_dir) as staff:
        url = (await staff.command("console"))["url"]
        where, _, token = url.partition("/?token=")
        inside = await Browser(Place(Tcp(*split(where)))).log_in(token)
        orders = [(ORDERS, "POST", ORDER)] * 8
        assert {200} == {(await staff.ask(*order)).status for order in orders}

        assert 303 == (await inside.post("halt", {"reason": "fat finger"})).status
        assert {403} == {(await staff.ask(*order)).status for order in orders}
        assert 303 == (await inside.post("resume", {"reason": "checked"})).status
        made = await inside.post("client-rotate", {"name": "bot", "overlap": "0s", "confirmed": "yes"})
        assert 303 == made.status
        assert {401} == {(await staff.ask(*order)).status for order in orders}
        staff.keys["bot"] = await key_of(inside, made.headers["Location"])
        assert {200} == {(await staff.ask(*order)).status for order in orders}


def split(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)
