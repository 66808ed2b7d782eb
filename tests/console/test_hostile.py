"""Hostile requests to the console: none sees a byte of it, and none does anything."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.console.visitor import Browser, Inside, View

LONG = "&x=" + "y" * 1_000_000
FORM = "csrf={csrf}&name=evil"
HOSTILE: dict[str, tuple[int, dict[str, Any]]] = {
    "no cookie": (403, {"target": "{home}"}),
    "a guessed cookie": (403, {"target": "{home}", "Cookie": "bearerd_console=AAAA"}),
    "two guessed cookies": (403, {"target": "{home}", "Cookie": "bearerd_console=AAAA; bearerd_console="}),
    "a cookie at another prefix": (403, {"target": "/AAAAAAAAAAAAAAAAAAAAAA/", "Cookie": "{cookie}"}),
    "the cookie as a query": (403, {"target": "{home}?{cookie}"}),
    "a wrong token": (403, {"target": "/?token=guess"}),
    "two tokens": (403, {"target": "/?token=guess&token=0pen-sesame"}),
    "another host": (421, {"target": "{home}", "host": "evil.test", "Cookie": "{cookie}"}),
    "a host that was rebound": (421, {"target": "{home}", "host": "rebound.test:{port}", "Cookie": "{cookie}"}),
    "no host": (400, {"target": "{home}", "host": None, "Cookie": "{cookie}"}),
    "a foreign origin": (403, {"target": "{home}", "Origin": "https://evil.test", "Cookie": "{cookie}"}),
    "an origin of nobody": (403, {"target": "{home}", "Origin": "null", "Cookie": "{cookie}"}),
    "another port of this machine": (403, {"target": "{home}", "Origin": "http://127.0.0.1:1", "Cookie": "{cookie}"}),
    "a foreign site": (403, {"target": "{home}", "Sec_Fetch_Site": "cross-site", "Cookie": "{cookie}"}),
    "a site beside ours": (403, {"target": "{home}", "Sec_Fetch_Site": "same-site", "Cookie": "{cookie}"}),
    "an act by GET": (405, {"target": "{home}do/client-add?" + FORM, "Cookie": "{cookie}"}),
    "an act by HEAD": (405, {"target": "{home}do/halt", "method": "HEAD", "Cookie": "{cookie}"}),
    "an act by PUT": (405, {"target": "{home}do/halt", "method": "PUT", "form": FORM, "Cookie": "{cookie}"}),
    "an act without a cookie": (403, {"target": "{home}do/client-add", "method": "POST", "form": FORM}),
    "an act without a form token": (
        403, {"target": "{home}do/client-add", "method": "POST", "form": "name=evil", "Cookie": "{cookie}"},
    ),
    "a wrong form token": (
        403, {"target": "{home}do/client-add", "method": "POST", "form": "csrf=guess&name=evil", "Cookie": "{cookie}"},
    ),
    "two form tokens": (
        400, {"target": "{home}do/client-add", "method": "POST", "form": "csrf=guess&" + FORM, "Cookie": "{cookie}"},
    ),
    "the form token in the query": (
        403, {"target": "{home}do/client-add?csrf={csrf}", "method": "POST", "form": "name=evil", "Cookie": "{cookie}"},
    ),
    "a form of a foreign page": (
        403,
        {"target": "{home}do/halt", "method": "POST", "form": FORM, "Cookie": "{cookie}", "Origin": "https://evil.test"},
    ),
    "a form as plain text": (
        400,
        {"target": "{home}do/client-add", "method": "POST", "form": FORM, "Cookie": "{cookie}",
         "Content_Type": "text/plain"},
    ),
    "a form as JSON": (
        400,
        {"target": "{home}do/client-add", "method": "POST", "form": '{{"csrf": "{csrf}", "name": "evil"}}',
         "Cookie": "{cookie}", "Content_Type": "application/json"},
    ),
    "a form of a megabyte": (
        413,
        {"target": "{home}do/client-add", "method": "POST", "form": FORM + LONG, "Cookie": "{cookie}"},
    ),
    "a thousand fields": (
        400, {"target": "{home}do/client-add", "method": "POST", "form": FORM + "&a=1" * 1000, "Cookie": "{cookie}"},
    ),
    "an act that is none": (
        404, {"target": "{home}do/adopt", "method": "POST", "form": FORM, "Cookie": "{cookie}"},
    ),
    "an encoded path": (404, {"target": "{home}do%2fclient-add", "method": "POST", "form": FORM, "Cookie": "{cookie}"}),
    "a path that climbs": (404, {"target": "{home}../metrics", "Cookie": "{cookie}"}),
    "a path that is doubled": (404, {"target": "/{home}", "Cookie": "{cookie}"}),
    "an absolute target": (404, {"target": "http://127.0.0.1:{port}{home}", "Cookie": "{cookie}"}),
    "a file of ours": (404, {"target": "/console.css/../../config.yaml"}),
    "a template": (404, {"target": "/status.html.j2"}),
    "the events of somebody else": (403, {"target": "{home}events"}),
    "a key that was not made here": (410, {"target": "{home}key/AAAA", "Cookie": "{cookie}"}),
    "a preflight": (
        403, {"target": "{home}do/halt", "method": "OPTIONS", "Origin": "https://evil.test", "Cookie": "{cookie}"},
    ),
    "a method that is none": (400, {"target": "{home}", "method": "HACK", "Cookie": "{cookie}"}),
    "a proxy's method": (404, {"target": "evil.test:443", "method": "CONNECT"}),
}  # fmt: skip
PRIVATE = ("questrade", "notebook", "read_md", "26598145")


def said(how: dict[str, Any], inside: Inside, port: int) -> dict[str, Any]:
    words = {"home": inside.home, "cookie": inside.cookie, "csrf": inside.csrf, "port": port}
    return {key: value.format(**words) if isinstance(value, str) else value for key, value in how.items()}


async def test_hostile_requests_are_refused(browser: Browser, view: View, figure: Callable[[object], None]) -> None:
    """Each with its own status; no page, no act, and nothing that invites a browser to try again."""
    inside = await browser.log_in()
    faults = []
    for name, (status, how) in HOSTILE.items():
        sending = said(how, inside, browser.console.address.port)
        reply = await browser.send(sending.pop("target"), **sending)
        shown = [word for word in PRIVATE if word in reply.body]
        inviting = [header for header in reply.headers if header.lower().startswith(("access-control", "set-cookie"))]
        if reply.status != status or shown or inviting:
            faults.append(f"{name}: {reply.status}, not {status} {shown} {inviting}")
    assert not faults, "\n".join(faults)
    assert [] == view.acted
    assert 200 == (await inside.get("")).status  # the one who is logged in still is
    assert 25 <= len(HOSTILE)
    figure(f"{len(HOSTILE)} hostile requests, 0 answered")


@pytest.mark.parametrize("name", ["an act without a form token", "two form tokens"])
async def test_the_same_requests_pass_when_they_are_the_page_s_own(browser: Browser, view: View, name: str) -> None:
    """The control: with the one token of the form, what was refused above is done."""
    inside = await browser.log_in()
    _, how = HOSTILE[name]
    sending = said(how, inside, 0) | {"form": f"csrf={inside.csrf}&name=notebook"}
    assert 303 == (await browser.send(sending.pop("target"), **sending)).status
    assert [("clients-add", {"name": "notebook"})] == [(act, {"name": wish["name"]}) for act, wish in view.acted]
