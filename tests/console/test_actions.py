"""Forms of the console over real sockets: who can send them, what comes of them, and what is kept of what was typed."""

import asyncio
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from proxy.admin import NotPossible
from proxy.config import ConfigInvalid
from proxy.console.acts import ACTS
from proxy.store import StoreError
from proxy.tokens.errands import LoginFailed
from tests.callers import eventually
from tests.console.shown import mount, status
from tests.console.visitor import KEY, Browser, Inside, View

CANARY = "canary-refresh-token"
HALT: dict[str, str] = {"mount": "questrade", "scope": "", "client": "", "reason": "fat finger"}
# A form for each act that can be done at once, and what is asked of the server then.
GOOD: dict[str, tuple[dict[str, str], str, dict[str, Any]]] = {
    "log-in-there": ({"grant": "questrade"}, "login-begin", {"mount": "questrade"}),
    "log-in": ({"grant": "questrade", "token": f" {CANARY}\n"}, "login", {"mount": "questrade", "token": CANARY}),
    "revoke": ({"grant": "questrade", "confirmed": "yes"}, "revoke", {"mount": "questrade"}),
    "client-add": (
        {"name": "bot", "grants": "a/x b/y", "expires": "90d"},
        "clients-add",
        {"name": "bot", "grants": ["a/x", "b/y"], "lasts": 7_776_000.0},
    ),
    "client-rotate": (
        {"name": "bot", "number": "1", "overlap": "30m", "expires": ""},
        "clients-rotate",
        {"name": "bot", "number": 1, "overlap": 1800.0},
    ),
    "client-remove": (
        {"name": "bot", "number": "", "confirmed": "yes"},
        "clients-remove",
        {"name": "bot", "number": None},
    ),
    "halt": (
        HALT,
        "halt",
        {"mount": "questrade", "scope": None, "client": None, "cancels_too": False}
        | {"reason": "fat finger", "by": "console"},
    ),
    "resume": (
        {"mount": "", "scope": "", "client": "", "all": "yes", "reason": "checked"},
        "resume",
        {"mount": None, "scope": None, "client": None, "all": True, "reason": "checked", "by": "console"},
    ),
    "reload": ({}, "reload", {}),
}


def test_each_act_is_tried() -> None:
    """A new one has to be listed here."""
    assert ACTS.keys() == GOOD.keys()


@pytest.mark.parametrize("name", GOOD)
async def test_an_act_is_done_once_and_leads_on(inside: Inside, view: View, name: str) -> None:
    """By a POST of the session's own page; what comes after can be loaded again without doing it again."""
    form, command, wish = GOOD[name]
    reply = await inside.post(name, form)

    assert [(command, wish)] == view.acted
    if name == "log-in-there":
        assert (200, "0;url=https://login.example/authorize?state=s") == (reply.status, reply.headers["Refresh"])
        assert ("no-referrer", False) == (reply.headers["Referrer-Policy"], "login.example" in reply.body)
        return
    assert (303, "") == (reply.status, reply.body)
    page = await inside.get(reply.headers["Location"].removeprefix(inside.home))
    assert 200 == page.status
    assert [(command, wish)] == view.acted
    assert CANARY not in page.body + reply.headers["Location"]


@pytest.mark.parametrize("name", GOOD)
async def test_nobody_else_can_do_it(inside: Inside, browser: Browser, view: View, name: str) -> None:
    """Without the cookie, the form token, with another session's, in a form that is none, by a GET, from elsewhere."""
    form, target = GOOD[name][0] | {"csrf": inside.csrf}, f"{inside.home}do/{name}"
    other = await browser.log_in(browser.console.url.partition("?token=")[2])
    text, cookie = urlencode(form), inside.cookie
    wrong: list[tuple[int, dict[str, Any]]] = [
        (403, {"form": text}),
        (403, {"form": text, "Cookie": cookie + "x"}),
        (403, {"form": urlencode(form | {"csrf": "wrong"}), "Cookie": cookie}),
        (403, {"form": urlencode(form | {"csrf": ""}), "Cookie": cookie}),
        (403, {"form": urlencode(form | {"csrf": other.csrf}), "Cookie": cookie}),
        (403, {"form": text, "Cookie": other.cookie}),
        (403, {"form": text, "Cookie": cookie, "Origin": "null"}),
        (403, {"form": text, "Cookie": cookie, "Origin": "http://evil.example"}),
        (403, {"form": text, "Cookie": cookie, "Sec_Fetch_Site": "cross-site"}),
        (403, {"form": text, "Cookie": cookie, "Sec_Fetch_Site": "same-site"}),
        (421, {"form": text, "Cookie": cookie, "host": "evil.example"}),
        (400, {"Cookie": cookie}),
        (400, {"form": text, "Cookie": cookie, "Content_Type": "text/plain"}),
        (400, {"form": text, "Cookie": cookie, "Content_Encoding": "gzip"}),
        (400, {"form": f"{text}&csrf={inside.csrf}", "Cookie": cookie}),
        (400, {"form": f"{text}&more=1", "Cookie": cookie}),
        (400, {"form": f"{text}&%ff=1", "Cookie": cookie}),
        (400, {"form": text + "&x" * 20, "Cookie": cookie}),
        (413, {"form": f"{text}&x={'y' * 30_000}", "Cookie": cookie}),
        (405, {"method": "GET", "Cookie": cookie}),
        (405, {"method": "PUT", "form": text, "Cookie": cookie}),
    ]
    for expected, how in wrong:
        assert expected == (await browser.send(target, **({"method": "POST"} | how))).status, how
    assert 405 == (await browser.send(f"{target}?{text}", Cookie=cookie)).status

    assert [] == view.acted


async def test_there_is_no_other_act(inside: Inside, view: View) -> None:
    """Neither under another name, nor one of the command line's alone."""
    for name in ("", "adopt", "oauth", "halt/", "halt%20", "../halt"):
        assert 404 == (await inside.post(name, {"mount": "questrade"})).status
    assert [] == view.acted


@pytest.mark.parametrize(
    ("error", "status_code"),
    [
        (NotPossible("there is no account 26598145", "bearerd status"), 409),
        (LoginFailed("the broker's <b>no</b>"), 409),
        (ConfigInvalid([], "config.yaml"), 409),
        (StoreError("the disk is full"), 503),
        (OSError(28, "No space left on device"), 503),
    ],
    ids=["not possible", "login failed", "configuration", "store", "system"],
)
async def test_what_is_not_done_is_explained(inside: Inside, view: View, error: Exception, status_code: int) -> None:
    """With the reason, masked and as text, and the way to help; what was typed is there yet."""
    view.problem = error
    reply = await inside.post("halt", HALT | {"reason": 'so "they" said'})

    assert (status_code, None) == (reply.status, reply.headers["Refresh"])
    assert "Not done." in reply.body
    assert 'value="so &#34;they&#34; said"' in reply.body
    assert '<option value="questrade" selected>' in reply.body
    assert "26598145" not in reply.body
    assert "<b>" not in reply.body
    assert ("bearerd status" in reply.body) is isinstance(error, NotPossible)


async def test_a_secret_is_not_given_back(inside: Inside, view: View) -> None:
    """Neither by a broker's no, nor where only a part of it was typed."""
    view.problem = LoginFailed("the token works once")
    failed = await inside.post("log-in", {"grant": "questrade", "token": CANARY})
    view.problem, view.asks = None, {"kind": "secret", "asks": ["key id", "secret"]}
    partly = await inside.post("log-in", {"grant": "questrade", "token": CANARY, "token2": ""})
    spoilt = await inside.post("log-in", {"grant": "questrade", "token": CANARY, "token2": "a b"})

    for reply, words in ((failed, "works once"), (partly, "takes 2 parts"), (spoilt, "That is no token")):
        assert (409, True) == (reply.status, words in reply.body)
        assert CANARY not in reply.body
        assert "questrade" in reply.body
    assert [] == view.acted


async def test_a_credential_of_several_parts(inside: Inside, view: View) -> None:
    """Goes on as the command line writes it; and one that needs nothing goes on without."""
    view.asks = {"kind": "secret", "asks": ["key id", "secret"]}
    await inside.post("log-in", {"grant": "questrade", "token": "id", "token2": "s:ecret"})
    view.asks = {"kind": "client-credentials", "asks": ["id"]}
    await inside.post("log-in", {"grant": "questrade"})

    assert ["id:s:ecret", None] == [wish["token"] for _, wish in view.acted]


async def test_a_grant_that_is_not_there(inside: Inside, view: View) -> None:
    """Its form says so, and so does the act."""
    for reply in (await inside.get("log-in?grant=none"), await inside.post("log-in", {"grant": "none", "token": "x"})):
        assert (409, True) == (reply.status, "there is no mount or grant" in reply.body)
    assert [] == view.acted


async def test_a_login_that_has_no_page_of_the_broker_s(inside: Inside, view: View) -> None:
    """Somebody's old page may yet offer it: nothing was begun, and the page says so."""
    view.begins = {"kind": "refresh-token", "asks": ["refresh token"]}
    reply = await inside.post("log-in-there", {"grant": "questrade"})
    assert (409, None) == (reply.status, reply.headers["Refresh"])
    assert "questrade is not logged in on a page of the broker" in reply.body


# What is to be confirmed, and whether only where there is real money.
RISKS: dict[str, tuple[str, dict[str, str], bool]] = {
    "log out": ("revoke", {"grant": "questrade"}, False),
    "remove a key": ("client-remove", {"name": "notebook", "number": "1"}, False),
    "replace at once": ("client-rotate", {"name": "notebook", "number": "1", "overlap": "0s", "expires": ""}, False),
    "stop cancels": ("halt", HALT | {"cancels_too": "yes"}, False),
    "resume": ("resume", HALT | {"all": ""}, True),
}


@pytest.mark.parametrize("live", [True, False], ids=["live", "practice"])
@pytest.mark.parametrize("name", RISKS)
async def test_what_is_dangerous_wants_a_second_thought(inside: Inside, view: View, name: str, live: bool) -> None:
    """With real money by a box that has to be ticked; what was typed is there yet."""
    act, form, only_live = RISKS[name]
    view.shown = status(mount(environment="live" if live else "practice"))
    first = await inside.post(act, form)
    if only_live and not live:
        assert 303 == first.status
        return
    assert (409, []) == (first.status, view.acted)
    word = "live questrade" if live else "yes"
    assert (f'<input type="checkbox" name="confirmed" value="{word}" id="confirmed" required>' in first.body) is live
    assert ("real money" in first.body) is live
    for wrong in ("no", "", "live other", "yes" if live else "live questrade"):
        assert 409 == (await inside.post(act, form | {"confirmed": wrong})).status
    assert 303 == (await inside.post(act, form | {"confirmed": word})).status
    assert 1 == len(view.acted)


async def test_a_halt_needs_no_second_thought(inside: Inside, view: View) -> None:
    """Even with real money: it must be quick."""
    view.shown = status(mount(environment="live"))
    assert 303 == (await inside.post("halt", HALT)).status


# -- keys


@pytest.mark.parametrize("name", ["client-add", "client-rotate"])
async def test_a_key_is_shown_once(inside: Inside, name: str) -> None:
    """On a page that nothing keeps, under an address without it; never again, not even after a reload."""
    place = (await inside.post(name, GOOD[name][0])).headers["Location"]
    page, again = await inside.get(place), await inside.get(place)

    assert KEY not in place
    assert (200, True, "no-store") == (page.status, KEY in page.body, page.headers["Cache-Control"])
    assert (410, False) == (again.status, KEY in again.body)
    assert KEY not in (await inside.get("")).body


async def test_a_key_is_for_its_session(inside: Inside, browser: Browser) -> None:
    """Another one does not see it, and does not spoil it."""
    place = (await inside.post("client-add", GOOD["client-add"][0])).headers["Location"]
    other = await browser.log_in(browser.console.url.partition("?token=")[2])

    assert 410 == (await other.get(place)).status
    assert KEY in (await inside.get(place)).body


async def test_an_act_runs_to_its_end(inside: Inside, view: View) -> None:
    """A browser that leaves in the middle ends its request, and nothing else."""
    view.slow = asyncio.Event()
    going = asyncio.ensure_future(inside.post("client-remove", GOOD["client-remove"][0]))
    async for _ in eventually(5):
        if view.acted:
            break
    going.cancel()
    await asyncio.wait([going])
    await asyncio.sleep(0.05)
    view.slow.set()
    async for _ in eventually(5):
        if len(view.acted) == 2:
            break
    assert ["clients-remove", "ended"] == [command for command, _ in view.acted]


async def test_two_clicks_are_one_act(inside: Inside, browser: Browser, view: View) -> None:
    """A token that works once is posted once, and a key is made once; another person's wish is another."""
    view.slow = asyncio.Event()
    other = await browser.log_in(browser.console.url.partition("?token=")[2])
    form = GOOD["client-add"][0]
    going = [asyncio.ensure_future(each.post("client-add", form)) for each in (inside, inside, other)]
    await asyncio.sleep(0.2)
    view.slow.set()
    places = [(await each).headers["Location"] for each in going]

    assert 2 == [command for command, _ in view.acted].count("clients-add")
    assert (True, False) == (places[0] == places[1], places[0] == places[2])
    assert [200, 410] == [(await inside.get(place)).status for place in places[:2]]


@pytest.mark.parametrize("name", ["client-add", "client-rotate", "log-in"])
async def test_a_second_click_after_the_first_has_ended(inside: Inside, view: View, name: str) -> None:
    """Leads to the same page: no key is made that nobody sees, and no token posted that works once."""
    place = f"{name}?grant=questrade&name=bot&number=1"
    once = [re.findall(r'name="once" value="([\w-]{16})"', (await inside.get(place)).body) for _ in range(2)]
    form = GOOD[name][0] | {"once": once[0][0]}
    places = [(await inside.post(name, form)).headers["Location"] for _ in range(2)]
    assert (1, True) == (len(view.acted), places[0] == places[1])

    await inside.post(name, form | {"once": once[1][0]})
    await inside.post(name, form | {"expires": "30d"} if "expires" in form else form | {"token": "another"})
    assert 3 == len(view.acted)


async def test_what_was_not_done_is_tried_again(inside: Inside, view: View) -> None:
    """Only a form that was carried out is not carried out again."""
    form = GOOD["client-add"][0] | {"once": "once"}
    view.problem = StoreError("the disk is full")
    assert 503 == (await inside.post("client-add", form)).status
    view.problem = None
    assert 303 == (await inside.post("client-add", form)).status


FORMS = [
    "log-in?grant=questrade", "revoke?grant=questrade", "client?name=notebook", "client-add",
    "client-rotate?name=notebook&number=1",
    "client-remove?name=notebook", "halt?mount=questrade", "resume?mount=questrade",
]  # fmt: skip


@pytest.mark.parametrize("place", FORMS)
async def test_a_form_shows_and_does_nothing(inside: Inside, browser: Browser, view: View, place: str) -> None:
    """Only within the session, with its form token if it can be sent; an address confirms nothing."""
    page = await inside.get(f"{place}{'&' if '?' in place else '?'}confirmed=yes&token={CANARY}&reason=because")

    assert (200, None) == (page.status, page.headers["Refresh"])
    assert CANARY not in page.body
    assert "checked" not in page.body
    assert ('method="post"' in page.body) is (not place.startswith("client?"))
    assert (inside.csrf in page.body) is (not place.startswith("client?"))
    assert 403 == (await browser.send(inside.home + place)).status
    assert [] == view.acted


async def test_an_odd_address_shows_an_empty_form(inside: Inside) -> None:
    """What cannot be read only chooses what is shown."""
    for query in ("x" * 4000, "a&b", "mount=%ff", "mount=a&mount=b", "%00=1"):
        assert 200 == (await inside.get(f"halt?{query}")).status


async def test_what_was_done_is_said_once_it_is(inside: Inside) -> None:
    """In words, by a name that means nothing to others."""
    reply = await inside.post("revoke", GOOD["revoke"][0])
    place = reply.headers["Location"].removeprefix(inside.home)

    assert "The grant questrade is revoked here: the broker was told." in (await inside.get(place)).body
    assert "revoked" not in (await inside.get("?done=invented")).body
