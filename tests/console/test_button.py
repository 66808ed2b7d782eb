"""The button that begins a login: who can press it, and where it leads."""

import re
from typing import Any
from urllib.parse import urlencode

from proxy.console.server import COOKIE
from tests.console.shown import mount, status
from tests.console.visitor import Browser, View


async def csrf_of(browser: Browser, home: str, cookie: str) -> str:
    (found,) = set(re.findall(r'name="csrf" value="([\w-]{40,})"', (await browser.send(home, Cookie=cookie)).body))
    return str(found)


async def test_the_button_leads_to_the_broker_s_page(browser: Browser, view: View) -> None:
    """With cookie and form token, by a POST of the page itself; the address stands in no page of ours."""
    view.shown = status(mount(login_kind="code", login_here=True))
    home, cookie = await browser.enter()
    page = await browser.send(home, Cookie=cookie)
    form = urlencode({"csrf": await csrf_of(browser, home, cookie), "grant": "questrade"})
    own = {"Origin": f"http://{browser.console.address}", "Sec_Fetch_Site": "same-origin", "Cookie": cookie}
    reply = await browser.send(f"{home}login", method="POST", form=form, **own)

    assert (200, "0;url=https://login.example/authorize?state=s") == (reply.status, reply.headers["Refresh"])
    assert "no-referrer" == reply.headers["Referrer-Policy"]
    assert "login.example" not in reply.body
    assert ["questrade"] == view.begun
    assert "same-origin" == page.headers["Referrer-Policy"]
    assert "login.example" not in page.body


async def test_nobody_else_can_press_it(browser: Browser, view: View) -> None:
    """Without the cookie, the form token, with another's, too long a form, none, a GET, or from a foreign page."""
    view.shown = status(mount(login_kind="code", login_here=True))
    home, cookie = await browser.enter()
    good = {"csrf": await csrf_of(browser, home, cookie), "grant": "questrade"}
    form, wrong_form = urlencode(good), urlencode(good | {"csrf": "wrong"})
    target = f"{home}login"
    wrong: list[tuple[int, dict[str, Any]]] = [
        (403, {"method": "POST", "form": form}),
        (403, {"method": "POST", "form": form, "Cookie": f"{COOKIE}=wrong"}),
        (403, {"method": "POST", "form": wrong_form, "Cookie": cookie}),
        (403, {"method": "POST", "form": "grant=questrade", "Cookie": cookie}),
        (403, {"method": "POST", "form": f"{form}&x={'y' * 5000}", "Cookie": cookie}),
        (403, {"method": "POST", "Cookie": cookie}),
        (403, {"method": "POST", "form": form, "Cookie": cookie, "Origin": "null"}),
        (403, {"method": "POST", "form": form, "Cookie": cookie, "Sec_Fetch_Site": "cross-site"}),
        (405, {"Cookie": cookie}),
    ]
    for expected, how in wrong:
        assert expected == (await browser.send(target, **how)).status

    assert [] == view.begun


async def test_a_login_that_cannot_begin_says_why(browser: Browser, view: View) -> None:
    """On a page, without a way on."""
    view.shown = status(mount(login_kind="code", login_here=True))
    home, cookie = await browser.enter()
    form = urlencode({"csrf": await csrf_of(browser, home, cookie), "grant": "none"})
    reply = await browser.send(f"{home}login", method="POST", form=form, Cookie=cookie)

    assert (409, True) == (reply.status, "there is no mount or grant" in reply.body)
    assert None is reply.headers["Refresh"]
