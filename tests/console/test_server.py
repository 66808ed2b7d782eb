"""The console over real sockets: who may look, and what lies under which path."""

import re
from pathlib import Path

import pytest

from proxy.config import Tcp, Unix
from proxy.console.session import COOKIE
from tests.console.shown import mount, status
from tests.console.visitor import TOKEN, Browser, View, console_at

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
OPEN = ["/livez", "/healthz", "/readyz", "/metrics", "/console.css", "/console.js"]


# -- health and metrics


@pytest.mark.parametrize("path", ["/livez", "/healthz"])
async def test_the_process_is_alive(browser: Browser, view: View, path: str) -> None:
    """Liveness is about the process alone, whatever ails its mounts."""
    view.word = "draining"
    reply = await browser.send(path)

    assert (200, "ok\n") == (reply.status, reply.body)


@pytest.mark.parametrize(
    ("word", "usable", "expected"),
    [
        ("ok", True, 200),
        ("ok", False, 503),
        ("degraded", True, 200),
        ("degraded", False, 503),
        ("needs-login", True, 200),
        ("needs-login", False, 503),
        ("draining", True, 503),
    ],
)
async def test_readiness(browser: Browser, view: View, word: str, usable: bool, expected: int) -> None:
    """Ready while a mount serves; never while draining."""
    view.word, view.shown = word, status(mount("a", usable=False), mount("b", usable=usable))
    reply = await browser.send("/readyz")

    assert (expected, f"{word}\n") == (reply.status, reply.body)


@pytest.mark.parametrize("query", ["verbose", "verbose=", "verbose=1"])
async def test_readiness_in_detail(browser: Browser, query: str) -> None:
    """On request each thing that was looked at has its line."""
    reply = await browser.send(f"/readyz?{query}")

    assert "[+]store ok\n[+]grant questrade fresh\nok\n" == reply.body


async def test_metrics(browser: Browser) -> None:
    """Metrics come as the view gives them, in Prometheus' text format."""
    reply = await browser.send("/metrics")

    assert (200, "bearerd_in_flight 0.0\n") == (reply.status, reply.body)
    assert "text/plain" == reply.headers.get_content_type()
    assert "version=" in reply.headers["Content-Type"]


@pytest.mark.parametrize("path", OPEN)
async def test_head_on_what_machines_ask(browser: Browser, path: str) -> None:
    """HEAD is GET without the body."""
    got, head = await browser.send(path), await browser.send(path, method="HEAD")

    assert (got.status, "") == (head.status, head.body)
    assert got.headers["Content-Length"] == head.headers["Content-Length"]


async def test_http_1_0_is_enough_for_a_probe(browser: Browser) -> None:
    """Old health probes are answered, if they name a host."""
    assert 200 == (await browser.send("/livez", version="1.0")).status
    assert 421 == (await browser.send("/livez", version="1.0", host=None)).status


async def test_the_style_sheet(browser: Browser) -> None:
    """CSS comes from the package and knows the dark."""
    reply = await browser.send("/console.css")

    assert "text/css; charset=utf-8" == reply.headers["Content-Type"]
    assert "prefers-color-scheme: dark" in reply.body


async def test_the_script(browser: Browser) -> None:
    """One small file from the package, which talks to nobody but us."""
    reply = await browser.send("/console.js")

    assert "text/javascript; charset=utf-8" == reply.headers["Content-Type"]
    assert len(reply.body.splitlines()) <= 110
    assert [] == re.findall(r"https?:|eval|Function\(|document\.write|localStorage|cookie", reply.body)


# -- who may look


@pytest.mark.parametrize("path", [*OPEN, "/", f"/?token={TOKEN}", "/nothing", "/../x"])
async def test_a_foreign_host_sees_nothing(browser: Browser, path: str) -> None:
    """A name that is not ours is 421 on every path, even on those that do not exist."""
    reply = await browser.send(path, host="evil.example:8081")

    assert 421 == reply.status
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Access_Control_Request_Method": "GET"},
    ],
)
@pytest.mark.parametrize("path", ["/livez", f"/?token={TOKEN}", "/nothing"])
async def test_a_foreign_page_sees_nothing(browser: Browser, path: str, headers: dict[str, str]) -> None:
    """What a browser sends on behalf of another page is 403 on every path, and spends no token."""
    reply = await browser.send(path, **headers)

    assert 403 == reply.status
    assert "cross-site" in reply.body
    assert "Set-Cookie" not in reply.headers
    assert 303 == (await browser.send(f"/?token={TOKEN}")).status


async def test_the_own_page_passes(browser: Browser) -> None:
    """The origin by which the browser came is no foreign one; another of our names is."""
    port = browser.console.address.port if isinstance(browser.console.address, Tcp) else 0
    own = {"Origin": f"http://localhost:{port}", "Sec_Fetch_Site": "same-origin"}

    assert 200 == (await browser.send("/livez", host=f"localhost:{port}", **own)).status
    assert 403 == (await browser.send("/livez", host=f"127.0.0.1:{port}", **own)).status


async def test_configured_names_are_ours(browser: Browser) -> None:
    """Allowed hosts are answered to, and can be changed while it runs."""
    assert 200 == (await browser.send("/livez", host="bearerd.internal:81")).status
    browser.console.allow_hosts(["other.internal:81"])
    assert 421 == (await browser.send("/livez", host="bearerd.internal:81")).status
    assert 200 == (await browser.send("/livez", host="other.internal:81")).status


async def test_a_cookie_of_another_server_locks_nobody_out(browser: Browser) -> None:
    """Cookies ignore ports: one of our name for all paths comes beside ours, before or behind it."""
    home, cookie = await browser.enter()
    for strange in (f"{cookie}; {COOKIE}=evil", f"{COOKIE}=evil; a=b; {cookie}", f"{COOKIE}; {COOKIE}=; {cookie}"):
        assert 200 == (await browser.send(home, Cookie=strange)).status
    for strange in (f"{COOKIE}=evil", cookie.replace("=", "x="), f"x{cookie}", cookie + "x", f'{COOKIE}="{cookie}"'):
        assert 403 == (await browser.send(home, Cookie=strange)).status


@pytest.mark.parametrize(
    "path", ["/nothing", "/livez/", "//livez", "/livez/../metrics", "/%6civez", "http://127.0.0.1/livez", "/LIVEZ"]
)
async def test_there_is_nothing_else(browser: Browser, path: str) -> None:
    """Any other path, and any other spelling of one, is 404."""
    assert 404 == (await browser.send(path)).status


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [*((path, "POST", "GET, HEAD") for path in OPEN), ("/", "POST", "GET"), (f"/?token={TOKEN}", "HEAD", "GET")],
)
async def test_nothing_can_be_changed(browser: Browser, path: str, method: str, allow: str) -> None:
    """Other methods are 405, and the first look at a link does not spend its token."""
    reply = await browser.send(path, method=method)

    assert (405, allow) == (reply.status, reply.headers["Allow"])
    assert 303 == (await browser.send(f"/?token={TOKEN}")).status


async def test_a_body_is_not_read(browser: Browser) -> None:
    """A request with a body is answered and the connection closed."""
    reply = await browser.send("/livez", method="POST", Content_Length="100000", Connection="keep-alive")

    assert 405 == reply.status
    assert "close" == reply.headers["Connection"]


# -- the page


async def test_the_token_becomes_a_cookie(browser: Browser) -> None:
    """The printed link leads on to the page with a cookie that only this page's path gets."""
    reply = await browser.send(f"/?token={TOKEN}", Sec_Fetch_Site="none")
    home = reply.headers["Location"]

    assert 303 == reply.status
    assert re.fullmatch(r"/[\w-]{20,}/", home)
    name, *attributes = reply.headers["Set-Cookie"].split("; ")
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{40,}}", name)
    assert {"HttpOnly", "SameSite=Strict", f"Path={home}"} == set(attributes)
    assert TOKEN not in home + name
    assert "no-referrer" == reply.headers["Referrer-Policy"]


async def test_the_page_opens_with_the_cookie(browser: Browser) -> None:
    """Behind the cookie lies the status, which comes anew by itself until it is paused."""
    home, cookie = await browser.enter()
    page = await browser.send(home, Cookie=f"theme=dark; {cookie}")
    paused = await browser.send(f"{home}?paused=1", Cookie=cookie)

    assert (200, "text/html; charset=utf-8", "30;url=./") == (
        page.status,
        page.headers["Content-Type"],
        page.headers["Refresh"],
    )
    assert "questrade" in page.body
    assert (200, None) == (paused.status, paused.headers["Refresh"])


@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=", f"{COOKIE}=wrong", "other=1", f"{COOKIE}=\u00e9", ";;="])
async def test_the_page_stays_closed_without_the_cookie(browser: Browser, cookie: str) -> None:
    """The path alone opens nothing."""
    home, _ = await browser.enter()
    reply = await browser.send(home, Cookie=cookie)

    assert 403 == reply.status
    assert "bearerd status" in reply.body
    assert "questrade" not in reply.body


@pytest.mark.parametrize(
    "query", ["", "?token=", "?token=wrong", f"?token={TOKEN}x", f"?x&token={TOKEN}", "?token=%30"]
)
async def test_without_the_token_no_cookie(browser: Browser, query: str) -> None:
    """Anything but the token is 403 with a page that says what to do."""
    reply = await browser.send(f"/{query}")

    assert 403 == reply.status
    assert "Set-Cookie" not in reply.headers
    assert "bearerd serve" in reply.body


async def test_a_token_works_once(browser: Browser) -> None:
    """Whoever comes second with the same link gets no cookie; the first browser still gets to its page."""
    home, cookie = await browser.enter()
    again = await browser.send(f"/?token={TOKEN}")

    assert (303, home, None) == (again.status, again.headers["Location"], again.headers["Set-Cookie"])
    assert 403 == (await browser.send(home)).status
    assert 200 == (await browser.send(home, Cookie=cookie)).status


async def test_the_next_link_has_a_new_token(browser: Browser) -> None:
    """`url` always opens the page: unchanged until it has been used, then with another token."""
    first = browser.console.url
    assert first == browser.console.url == f"http://{browser.console.address}/?token={TOKEN}"
    await browser.enter()
    second = browser.console.url

    assert first != second == browser.console.url
    assert 303 == (await browser.send(second.removeprefix(f"http://{browser.console.address}"))).status
    assert 403 == (await browser.send(f"/?token={TOKEN}")).status


async def test_a_reusable_token_works_again_and_again(view: View) -> None:
    """The demo's link opens the page in any browser, any number of times, each with a cookie of its own."""
    console = console_at(Tcp("127.0.0.1", 0), view, reusable=True)
    await console.start()
    entered = [await Browser(console).enter() for _ in range(3)]

    assert (1, 3) == (len({home for home, _ in entered}), len({cookie for _, cookie in entered}))
    for home, cookie in entered:
        assert 200 == (await Browser(console).send(home, Cookie=cookie)).status
    assert console.url.endswith(f"/?token={TOKEN}")
    await console.stop()


async def test_each_start_has_its_own_path_and_cookie(view: View) -> None:
    """What one start handed out opens nothing at the next."""
    entered = []
    for _ in range(2):
        console = console_at(Tcp("127.0.0.1", 0), view)
        await console.start()
        entered.append(await Browser(console).enter())
        await console.stop()

    assert entered[0][0] != entered[1][0]
    assert entered[0][1] != entered[1][1]


async def test_every_answer_guards_itself(browser: Browser) -> None:
    """No answer is kept, sniffed or read by another origin; pages carry the exact policy."""
    home, cookie = await browser.enter()
    pages = [await browser.send("/"), await browser.send(home, Cookie=cookie)]
    others = [await browser.send(path) for path in (*OPEN, "/nothing")]
    others.append(await browser.send("/", host="evil.example"))

    # A form on a page without any referrer would say `Origin: null`.
    assert [(CSP, "no-referrer"), (CSP, "same-origin")] == [
        (page.headers["Content-Security-Policy"], page.headers["Referrer-Policy"]) for page in pages
    ]
    for reply in pages + others:
        assert ["no-store"] == reply.headers.get_all("Cache-Control")
        assert ["nosniff"] == reply.headers.get_all("X-Content-Type-Options")
        assert "same-origin" == reply.headers["Cross-Origin-Resource-Policy"]
        assert "bearerd" == reply.headers["Server"]
        assert [] == [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_no_answer_holds_the_token(browser: Browser, view: View) -> None:
    """Token and cookie are in no page; a bug in the view is answered in fixed words."""
    home, cookie = await browser.enter()
    view.bug = True
    replies = [await browser.send(path, Cookie=cookie) for path in ("/", home, *OPEN)]

    assert [403, 200, 200, 200, 200, 500, 200, 200] == [reply.status for reply in replies]
    for reply in replies:
        assert TOKEN not in reply.body
        assert cookie.partition("=")[2] not in reply.body


async def test_an_address_for_everybody_is_printed_as_one_to_open(view: View) -> None:
    """A browser cannot open 0.0.0.0: the link names this machine."""
    console = console_at(Tcp("0.0.0.0", 0), view)
    await console.start()

    assert isinstance(console.address, Tcp)
    assert f"http://127.0.0.1:{console.address.port}/?token={TOKEN}" == console.url
    assert 200 == (await Browser(console).send("/livez", host=f"localhost:{console.address.port}")).status
    await console.stop()


async def test_a_unix_socket_serves_machines(view: View, state_dir: Path) -> None:
    """Behind a Unix socket there is no browser and no Host to check; the link is the socket."""
    path = state_dir / "console.sock"
    console = console_at(Unix(path), view)
    await console.start()

    assert f"unix:{path}" == console.url
    assert 200 == (await Browser(console).send("/readyz", host="anything")).status
    assert 403 == (await Browser(console).send("/readyz", host="anything", Origin="http://anything")).status
    await console.stop()


async def test_stop_before_start_does_nothing(view: View) -> None:
    """A console whose start failed can be stopped like any other."""
    console = console_at(Tcp("127.0.0.1", 1), view)
    await console.stop()

    assert Tcp("127.0.0.1", 1) == console.address
