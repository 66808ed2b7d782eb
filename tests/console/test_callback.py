"""A broker's redirect at the console of the whole product: good ones, and every hostile one that we could think of."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.console.callback import _MOST_KEPT, DONE, UNKNOWN, Outcome
from proxy.store import StoreError
from tests.consent import Consenting, consenting, parameters, with_parameters
from tests.wire import Reply

NAVIGATION = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")

RELOAD = ("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


async def followed(home: Consenting, address: str) -> tuple[Reply, Reply]:
    """What the console says to the redirect, and to what the browser is sent on to."""
    first = await home.browse(address, *NAVIGATION)
    return first, await home.browse(first.one("Location") or "", *NAVIGATION)


async def test_a_browser_that_comes_back_logs_in(state_dir: Path) -> None:
    """It is sent on at once to a clean address, which says what was granted and for how long."""
    async with consenting(state_dir) as home:
        answer = await home.consent()
        first, page = await followed(home, answer)

        assert (303, b"") == (first.status, first.body)
        assert (first.one("Location") or "").startswith(DONE)
        assert "?" not in (first.one("Location") or "")
        assert 200 == page.status
        for words in (b"questrade is logged in at questrade (simulator)", b"You can close this page"):
            assert words in page.body
        assert 1 == (await home.pair())[0]
        for reply in (first, page):
            assert ("no-referrer", "no-store") == (reply.one("Referrer-Policy"), reply.one("Cache-Control"))
            assert "default-src 'none'" in (reply.one("Content-Security-Policy") or "")
            assert None is reply.one("Set-Cookie")
        token = home.app.keepers["questrade"].access_token
        assert token is not None
        shown = repr((first, page))
        assert [] == [each for each in (*parameters(answer).values(), token.reveal()) if each in shown]


async def test_a_page_that_is_loaded_again_says_the_same(state_dir: Path) -> None:
    """It spends nothing; a redirect that is repeated is refused, and harms nothing."""
    async with consenting(state_dir) as home:
        answer = await home.consent()
        first, page = await followed(home, answer)
        before, posts = await home.pair(), home.seen("token_posts")

        assert page.body == (await home.browse(first.one("Location") or "", *RELOAD)).body
        again, refusal = await followed(home, answer)
        assert (303, DONE + UNKNOWN, 400) == (again.status, again.one("Location"), refusal.status)
        assert (before, posts) == (await home.pair(), home.seen("token_posts"))


@dataclass(frozen=True)
class Case:
    """A hostile request. `change` makes it of the good answer; `ends`: the state is used up by it.

    `posts`: how often the broker's token endpoint is asked.
    """

    change: Callable[[str], str] = lambda answer: answer
    headers: tuple[str, ...] = NAVIGATION
    method: str = "GET"
    host: str = ""
    status: int = 303
    ends: bool = False
    posts: int = 0


def _in_fragment(answer: str) -> str:
    return with_parameters(answer, state=None) + "#state=" + parameters(answer)["state"]


HOSTILE = {
    "no state": Case(lambda answer: with_parameters(answer, state=None)),
    "empty state": Case(lambda answer: with_parameters(answer, state="")),
    "invented state": Case(lambda answer: with_parameters(answer, state="x" * 43)),
    "shortened state": Case(lambda answer: with_parameters(answer, state=parameters(answer)["state"][:-1])),
    "doubled state": Case(lambda answer: f"{answer}&state={parameters(answer)['state']}"),
    "two states": Case(lambda answer: f"{answer}&state=other"),
    "state in the fragment": Case(_in_fragment, status=303),
    "no parameters": Case(lambda answer: answer.partition("?")[0]),
    "unreadable query": Case(lambda answer: answer + "&x=%ff"),
    "too many parameters": Case(lambda answer: answer + "&x=1" * 40),
    "error without a state": Case(lambda answer: answer.partition("?")[0] + "?error=access_denied"),
    "error with an invented state": Case(lambda answer: answer.partition("?")[0] + "?error=access_denied&state=x"),
    "no code": Case(lambda answer: with_parameters(answer, code=None), ends=True),
    "empty code": Case(lambda answer: with_parameters(answer, code=""), ends=True),
    "doubled code": Case(lambda answer: f"{answer}&code=other", ends=True),
    "declined": Case(lambda answer: with_parameters(answer, code=None, error="access_denied"), ends=True),
    "declined, with a code": Case(lambda answer: with_parameters(answer, error="access_denied"), ends=True),
    "unknown error": Case(lambda answer: with_parameters(answer, error="<script>"), ends=True),
    "another issuer": Case(lambda answer: with_parameters(answer, iss="https://evil.example"), ends=True),
    "doubled issuer": Case(lambda answer: answer + "&iss=a&iss=b", ends=True),
    "shortened code": Case(
        lambda answer: with_parameters(answer, code=parameters(answer)["code"][:-1]), ends=True, posts=1
    ),
    "invented code": Case(lambda answer: with_parameters(answer, code="x"), ends=True, posts=1),
    "another name of ours": Case(host="localhost:{port}", ends=True),
    "a foreign name": Case(host="evil.example:{port}", status=421),
    "no name": Case(host=" ", status=421),
    "an Origin": Case(headers=(*NAVIGATION, "Origin: https://login.example"), status=403),
    "the Origin null": Case(headers=(*NAVIGATION, "Origin: null"), status=403),
    "our own Origin": Case(headers=(*NAVIGATION, "Origin: http://127.0.0.1:{port}"), status=403),
    "a script that fetches": Case(headers=("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"), status=403),
    "a script that fetches, with CORS": Case(headers=("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"), status=403),
    "an image": Case(headers=(NAVIGATION[0], "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), status=403),
    "a frame": Case(headers=(*NAVIGATION[:2], "Sec-Fetch-Dest: iframe"), status=403),
    "no mode": Case(headers=("Sec-Fetch-Site: cross-site",), status=403),
    "two modes": Case(headers=(*NAVIGATION, "Sec-Fetch-Mode: cors"), status=403),
    "a preflight": Case(headers=("Access-Control-Request-Method: GET",), status=403),
    "a prefetch": Case(headers=(*NAVIGATION, "Sec-Purpose: prefetch"), status=403),
    "a prerender": Case(headers=(*NAVIGATION, "Sec-Purpose: prefetch;prerender"), status=403),
    "an old prefetch": Case(headers=(*NAVIGATION, "X-Moz: prefetch"), status=403),
    "HEAD": Case(headers=(), method="HEAD", status=405),
    "POST": Case(headers=(), method="POST", status=405),
    "POST from another site": Case(method="POST", status=403),
    "OPTIONS": Case(headers=(), method="OPTIONS", status=405),
    "another path": Case(lambda answer: answer.replace("/callback?", "/callback/?"), headers=(), status=404),
    "an encoded path": Case(lambda answer: answer.replace("/callback?", "/%63allback?"), headers=(), status=404),
    "a page of the past": Case(lambda answer: answer.replace("/callback?", f"{DONE}x?"), status=400),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_changes_nothing(state_dir: Path, name: str) -> None:
    """The grant is as it was, and nothing is posted; a state that was not shown is good for its own answer yet."""
    case = HOSTILE[name]
    async with consenting(state_dir, login=True) as home:
        answer = await home.consent()
        before, posts = await home.pair(), home.seen("token_posts")
        host = case.host.format(port=home.console_port)
        headers = [header.format(port=home.console_port) for header in case.headers]
        reply = await home.browse(case.change(answer), *headers, method=case.method, host=host)

        assert case.status == reply.status
        assert None is reply.one("Set-Cookie")
        assert (before, posts + case.posts) == (await home.pair(), home.seen("token_posts"))
        shown = repr(reply)
        if reply.status == 303:
            page = await home.browse(reply.one("Location") or "", *NAVIGATION)
            shown += repr(page)
            assert (400, True) == (page.status, b"Not logged in" in page.body)
            assert b"<script" not in page.body
        assert [] == [each for each in parameters(answer).values() if each in shown]

        good = await home.browse(answer, *NAVIGATION)
        assert (good.one("Location") == DONE + UNKNOWN) is case.ends
        assert before[0] + (not case.ends) == (await home.pair())[0]


async def test_states_that_were_swapped_bring_nothing(state_dir: Path) -> None:
    """The broker gave each code for one login, and its page cannot be talked into giving it to another."""
    async with consenting(state_dir, login=True) as home:
        ada, bob = await home.consent("questrade"), await home.consent("spouse")
        before, posts = await home.pair(), home.seen("token_posts")
        outcome = await home.app.operations.end_login(with_parameters(ada, state=parameters(bob)["state"]))

        # One application, one redirect address, no PKCE: nothing but the state tells the two apart, and it did.
        assert "spouse" == outcome.grant
        assert (before, posts + 1) == (await home.pair(), home.seen("token_posts"))
        assert "questrade" == (await home.app.operations.end_login(ada)).grant


async def test_a_pasted_answer_counts_for_its_own_grant_only(state_dir: Path) -> None:
    """Given as another's, it ends its login, and changes neither."""
    async with consenting(state_dir, login=True) as home:
        answer = await home.consent("spouse")
        before, posts = await home.pair(), home.seen("token_posts")
        with pytest.raises(Exception, match="belongs to the login of spouse, not of questrade"):
            await home.app.operations.login_complete("questrade", answer)

        assert (before, (0, None)) == (await home.pair(), await home.pair("spouse"))
        assert posts == home.seen("token_posts")


async def test_a_late_answer_is_refused(state_dir: Path) -> None:
    """Ten minutes after the login was begun."""
    async with consenting(state_dir, login=True) as home:
        answer = await home.consent()
        before, posts = await home.pair(), home.seen("token_posts")
        record = await home.app.custody.vault.get("login/questrade")
        assert record is not None
        value = record.value | {"wall": record.value["wall"] - 601}
        await home.app.custody.vault.put("login/questrade", expected=record.generation, value=value)
        _, page = await followed(home, answer)

        assert (400, True) == (page.status, b"the answer is late" in page.body)
        assert b"bearerd login questrade" in page.body
        assert (before, posts) == (await home.pair(), home.seen("token_posts"))


async def test_of_redirects_at_the_same_time_one_counts(state_dir: Path) -> None:
    """A browser that opens the address twice: one logs in, and the code is posted once."""
    async with consenting(state_dir) as home:
        answer = await home.consent()
        posts = home.seen("token_posts")
        replies = await asyncio.gather(*(home.browse(answer, *NAVIGATION) for _ in range(6)))

        assert 5 == sum(reply.one("Location") == DONE + UNKNOWN for reply in replies)
        assert (1, posts + 1) == ((await home.pair())[0], home.seen("token_posts"))


async def test_a_browser_that_leaves_has_logged_in(state_dir: Path) -> None:
    """The tab was closed while the code was being exchanged."""
    async with consenting(state_dir) as home:
        answer = await home.consent()
        home.simulator.options.token_latency = 0.3
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(home.browse(answer, *NAVIGATION))
            await home.posted()
            leaving.cancel()
        assert 0 == (await home.pair())[0]
        await home.app.operations.close()

        assert 1 == (await home.pair())[0]


async def test_pages_of_the_past_are_few(state_dir: Path) -> None:
    """Whoever comes again and again pushes out the oldest page, and nothing grows."""
    async with consenting(state_dir) as home:
        first, _ = await followed(home, with_parameters(await home.consent(), code=None))
        assert b"questrade" in (await home.browse(first.one("Location") or "")).body
        for _ in range(_MOST_KEPT):
            await home.browse(with_parameters(await home.consent(), code=None), *NAVIGATION)

        assert b"questrade" not in (await home.browse(first.one("Location") or "")).body


async def test_a_store_that_fails_is_said(state_dir: Path) -> None:
    """In its own words, which hold no secret."""
    from proxy.console.callback import Callback
    from proxy.console.page import Pages

    async def fails(_address: str) -> Outcome:
        raise StoreError("the disk is full")

    async with consenting(state_dir) as home:
        console = home.app.consoles[0]
        console._callback = Callback(fails, await asyncio.to_thread(Pages))
        _, page = await followed(home, await home.consent())

        assert (400, True) == (page.status, b"the disk is full" in page.body)
