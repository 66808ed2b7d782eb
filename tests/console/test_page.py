"""What the pages say, and what they never show."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from time import perf_counter
from typing import Any

import pytest

from proxy.clock import SystemClock
from proxy.console import charts, snippets
from proxy.console.acts import FORMS, TYPED, concerned, confirmation, live, risk
from proxy.console.page import Pages, context, grants, ident, iso, link_of, masked, needs, sign
from proxy.console.recent import Recent, Wanted
from proxy.console.view import Problem
from proxy.history import History
from proxy.metrics import Metrics
from proxy.secret import Secret
from proxy.spans import clock_time
from tests.console.shown import HOUR, NOW, mount, status

PAGES = Pages()
PAST = History(SystemClock(), Metrics(), mounts=list)
DEAD: dict[str, Any] = {"state": "needs-login", "usable": False, "fix": "bearerd login questrade"}


class Text(HTMLParser):
    """What a reader gets: words of the body, and the tags in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def everything(shown: dict[str, Any], query: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """What the page is made of."""
    given: dict[str, Any] = {
        "wanted": Wanted(), "records": Recent(), "charts": charts.drawn(PAST.shown("1h"), shown["now"]), "span": "1h",
        "connect": snippets.of(shown), "paused": False, "reloads": True, "csrf": "c5rf",
    }  # fmt: skip
    return context(shown, query or {}, **(given | more))


def page_of(shown: dict[str, Any], **more: Any) -> str:
    return PAGES.status(everything(shown, **more))


def form_of(name: str, shown: dict[str, Any], **more: Any) -> str:
    """A form's page, with `typed` fields."""
    typed = dict.fromkeys(TYPED, "") | more.pop("typed", {})
    given: dict[str, Any] = {
        "home": "/home/", "typed": typed, "problem": None, "csrf": "c5rf", "once": "0nce",
        "risk": risk(name, typed, shown), "real": live(name, typed, shown),
        "confirmation": confirmation(name, typed, shown), "concerned": concerned(name, typed, shown),
    }  # fmt: skip
    return PAGES.form(name, context(shown, {}, **(given | more)))


def test_a_healthy_server_in_words() -> None:
    """One look tells address, readiness, mount, token, calls and clients."""
    text = Text(page_of(status(mount()))).text

    for words in (
        "ok · http://127.0.0.1:8080 · up 3h00m",
        "✓ questrade Questrade PRACTICE Token fresh Refreshes in 24m Refresh token dies in 3d0h",
        "/questrade read_acc read_md http://127.0.0.1:8080/questrade",
        "1,840 calls · 2 denied last 12 s ago",
        "notebook questrade: read_acc read_md 1 key",
        "Nothing needs you.",
        "Connect a client",
    ):
        assert words in text
    assert "need you" not in text


def test_members_are_counted_and_those_in_need_are_named() -> None:
    """A mount that serves members only needs no login for all."""
    needing = [{"grant": "alpaca/ann", "state": "needs-login", "fix": "bearerd login alpaca/ann"}]
    members = {"total": 1200, "states": {"fresh": 1199, "needs-login": 1}, "reading": False, "needing": needing}
    only = {"state": "none", "usable": False, "reason": "never logged in", "fix": "bearerd login alpaca"}
    text = Text(page_of(status(mount("alpaca", members=members, **only)))).text

    assert "1 thing needs you Questrade (alpaca/ann): needs-login To fix: bearerd login alpaca/ann Log in…" in text
    assert "! alpaca" in text
    assert "for members 1,200 members 1,199 fresh, 1 needs-login" in text
    assert "never logged in" not in text


def test_live_is_unmistakable() -> None:
    """Real money is said in words and in a label of its own colour; nothing else has that label."""
    live = page_of(status(mount(environment="live")))

    assert '<strong class="live">LIVE</strong>' in live
    assert "LIVE real money" in Text(live).text
    assert "--live: #b3121d" in PAGES.css.decode()
    assert 'class="live"' not in page_of(status(mount(environment="practice")))


def test_the_processes_that_relay_are_counted_on_top() -> None:
    """Those that serve, with the process of each, its calls and its restarts; nothing with one process."""
    worker = {"number": 1, "pid": 4712, "ready": True, "since": NOW, "in_flight": 3, "restarts": 1}
    text = page_of(status(workers=[worker, worker | {"number": 2, "ready": False}]))
    assert ">1 of 2 workers<" in text
    assert "worker 1: process 4712, 3 in flight, 1 restarts; worker 2:" in text
    assert "workers<" not in page_of(status())


def test_a_dead_token_says_what_to_type() -> None:
    """The mount that needs a login stands on top with reason and command, and its row says that it refuses calls."""
    text = Text(page_of(status(mount(reason="invalid_grant", **DEAD), ready="needs-login: questrade"))).text

    assert "1 thing needs you Questrade (questrade): invalid_grant To fix: bearerd login questrade" in text
    assert "✗ questrade" in text
    assert f"needs-login, refuses calls Since 3h00m ago {clock_time(NOW - 3 * HOUR)}" in text


def test_mounts_of_one_grant_need_one_login() -> None:
    """Two mounts that share a dead grant are one thing to do; a warning is another."""
    shared = [mount(name, grant="ada", **DEAD) for name in ("a", "b")]

    found = needs(status(*shared, warnings=["the file has changed. To load: bearerd reload"]))
    assert [
        ("Questrade (ada): needs-login", "bearerd login questrade", "ada", False),
        ("the file has changed. To load: bearerd reload", None, None, True),
    ] == [(need["what"], need["fix"], need["grant"], need["reload"]) for need in found]


def test_an_empty_server_shows_the_first_steps() -> None:
    """Without mounts the page says how to begin."""
    text = Text(page_of(status(clients=[]))).text

    assert "First steps bearerd init writes" in text
    assert "No program may call yet." in text
    assert "No mount is configured yet." in text
    assert "Connect" not in text


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ({"name": "a", "keys": 2, "rights": None, "in_config": True}, "everything that the mounts allow 2 keys"),
        ({"name": "a", "keys": 0, "rights": {}, "in_config": True}, "nothing 0 keys"),
        ({"name": "a", "keys": 1, "rights": {"q": []}, "in_config": True}, "q: nothing 1 key"),
        ({"name": "a", "keys": 1, "rights": {"q": ["x"], "t": ["y", "z"]}, "in_config": True}, "q: x · t: y z 1 key"),
        ({"name": "a", "keys": 1, "rights": None, "in_config": False}, "not in the configuration"),
    ],
)
def test_what_a_client_may_do(client: dict[str, object], words: str) -> None:
    """Rights are spelled out; none at all is said, too."""
    assert words in Text(page_of(status(mount(), clients=[client | {"last_use": None}]))).text


def test_a_client_s_last_use_is_told() -> None:
    """So that a key that nobody needs can be found."""
    client = {"name": "a", "keys": 1, "rights": {"q": ["x"]}, "in_config": True}
    shown = status(mount(), now=1.8e9, clients=[client | {"last_use": 1.8e9 - 90}])
    assert "q: x 1 key · used 1m ago" in " ".join(Text(page_of(shown)).text.split())


def test_a_halt_comes_first_among_what_needs_somebody() -> None:
    """With its words and the command that lifts it; what a person has written is text."""
    halt: dict[str, Any] = {
        "text": "Halted: every mount, since now by <b>: fat finger.",
        "resume": "bearerd resume --reason TEXT",
    }
    halt |= dict.fromkeys(("mount", "scope", "client"))
    page = Text(page_of(status(mount(**DEAD), halts=[halt])))

    assert "2 things need you" in page.text
    assert page.text.index("Halted: every mount, since now by <b>: fat finger.") < page.text.index("bearerd login")
    assert "bearerd resume --reason TEXT" in page.text
    assert "b" not in page.tags


def test_an_open_server_says_so() -> None:
    """With `clients: none` the page says that anybody may call, and offers no key."""
    text = Text(page_of(status(mount(), open_to_all=True, clients=[]))).text

    assert "Any program on this machine may call" in text
    assert "New client key" not in text


def test_what_a_broker_says_is_text() -> None:
    """Markup in a reason, a name or a warning stays text."""
    evil = "<script>alert(1)</script>\"'><img src=x>"
    shown = status(mount(evil, reason=evil, title=evil, grant=evil, **DEAD), warnings=[evil], ready=evil, config=evil)
    page = Text(page_of(shown))

    assert "img" not in page.tags
    assert ["/console.js"] == [value for name, value in page.attributes if name == "src"]
    assert evil in page.text


def test_no_secret_and_no_account_number_is_shown() -> None:
    """Known secrets, what looks like one, the console's own link and account numbers stay off the page."""
    Secret("r3fresh-me-n0t")
    reason = "account 26598145 of VA12345678: Bearer abcdefgh1234567, r3fresh-me-n0t"
    page = page_of(status(mount(reason=reason, **DEAD), warnings=[reason]))

    for secret in ("26598145", "VA12345678", "abcdefgh1234567", "r3fresh-me-n0t"):
        assert secret not in page
    assert "account …145 of …678" in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("account 26598145.", "account …145."),
        ("(VA12345678)", "(…678)"),
        ("127.0.0.1:65535 in 2026", "127.0.0.1:65535 in 2026"),
        ("error 1017 after 30000 ms", "error 1017 after 30000 ms"),
        ("token=abcdefg", "token=***"),
        ("gpj\u202etxt\u2069\x1b[2K", "gpj?txt??[2K"),
        ("line 2:\n\tdirección", "line 2:\n\tdirección"),
    ],
    ids=["account", "letters", "port and year", "codes", "token", "steering", "lines"],
)
def test_masking(text: str, expected: str) -> None:
    """Long numbers lose all but three digits, what steers a line is taken out; ports, years and codes stay."""
    assert expected == masked(text)


def test_a_moment_for_machines_is_utc() -> None:
    """What a machine reads is UTC."""
    assert "2026-11-03T10:00:00+00:00" == iso(NOW)


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, "✓"), ({"fix": "bearerd reload"}, "!"), (DEAD, "✗"), ({"usable": False}, "✗")]
)
def test_signs(changes: dict[str, Any], expected: str) -> None:
    """A sign stands for: serves, serves but look, does not serve."""
    assert expected == sign(mount(**changes))


def test_each_grant_has_its_buttons() -> None:
    """To log in over the broker's page where that leads back here, another way, out, and to halt what uses it."""
    shown: dict[str, Any] = {"login_kind": "code", "login_here": True}
    dead = Text(page_of(status(mount(**DEAD | shown))))
    well = Text(page_of(status(mount(**shown))))
    pasted = Text(page_of(status(mount(state="none", usable=False))))

    assert 2 == dead.text.count("Log in on the broker's page Another way…")
    assert "Log in again Another way… Log out… Halt…" in well.text
    for page in (dead, well):
        assert {("formaction", "do/log-in-there"), ("value", "c5rf"), ("value", "questrade")} <= {*page.attributes}
    assert "Log in… Halt…" in pasted.text
    assert ("formaction", "do/log-in-there") not in pasted.attributes


def test_grants_are_shown_once_with_their_mounts() -> None:
    """In the order of the configuration."""
    found = grants(status(mount("a", grant="ada"), mount("b"), mount("c", grant="ada")))
    assert [("ada", ["a", "c"]), ("b", ["b"])] == [
        (each["grant"], [served["name"] for served in each["mounts"]]) for each in found
    ]
    text = Text(page_of(status(mount("a", grant="ada"), mount("c", grant="ada")))).text
    assert "Halt /a… Halt /c…" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dies": None, "access_expires": None}, "Lasts until it is revoked"),
        ({"next_renewal": NOW - 1}, "Refreshes in now"),
        (
            {"rates": [{"category": "market data", "limit": 20, "remaining": 3}]},
            "Budget for market data 3 of 20 calls left",
        ),
        ({"rates": [{"category": "", "limit": None, "remaining": None}]}, "Token fresh"),
        ({"calls": 1, "last_call": None}, "1 call · 2 denied none yet"),
        ({"root_url": "http://127.0.0.1:8180"}, "http://127.0.0.1:8180"),
    ],
    ids=range(6),
)
def test_what_a_grant_says(changes: dict[str, Any], words: str) -> None:
    """Whatever its broker and its login are like."""
    assert words in Text(page_of(status(mount(**changes)))).text


def test_what_comes_anew_is_the_same_until_something_changes() -> None:
    """Spans of time are left to the script; form tokens stand elsewhere on the page."""
    first = PAGES.parts(everything(status(mount())))
    later = PAGES.parts(everything(status(mount(), now=NOW + 7)))

    assert [] == [name for name, part in first.items() if name != "charts" and later[name] != part]
    assert {"top", "needs", "grants", "clients", "charts", "recent-rows"} == first.keys()
    assert "c5rf" not in str(first)
    page = page_of(status(mount()))
    for name in first:
        assert 1 == page.count(f' id="{name}"')


def test_a_hundred_thousand_clients_are_not_all_listed(figure: Callable[[object], None]) -> None:
    """The page stays small, is written quickly, and says how many more there are and how one of them is found."""
    client = status()["clients"][0]
    shown = status(mount(), clients=[client | {"name": f"c{number:05}"} for number in range(100_000)])
    began = perf_counter()
    page = page_of(shown)
    took = perf_counter() - began

    figure(f"{len(page) / 1024:.0f} KiB in {took * 1000:.0f} ms")
    assert len(page) < 120 * 1024
    assert "99,900 more" in Text(page).text
    assert [True, False] == [f"Keys of {name}" in page for name in ("c00099", "c00100")]
    assert "99,900 more" not in Text(page_of(shown | {"clients": shown["clients"][:100]})).text
    assert "<option selected>c50000</option>" in form_of("halt", shown, typed={"client": "c50000"})
    assert len(form_of("client-add", shown)) < 12 * 1024


def test_ids_are_there_once() -> None:
    """Everything that can have the focus has one, so that it keeps it when a part comes anew."""
    two = status(
        mount("a b", **DEAD | {"login_here": True}),
        mount("a-b", environment="live"),
        warnings=["x. To load: bearerd reload"],
    )
    page = Text(page_of(two))
    ids = [value or "" for name, value in page.attributes if name == "id"]
    assert [] == sorted({value for value in ids if ids.count(value) > 1})
    assert "grant.a_2f1_2eb.1" == ident(("grant", "a/1.b", 1))
    interactive = [tag for tag in page.tags if tag in ("button", "select")]
    assert len(interactive) <= len(ids)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_a_page_of_its_own(name: str) -> None:
    """With the way back, a label for each field, and what was typed; LIVE is said."""
    shown = status(mount(environment="live"))
    key = {"number": 1, "created": NOW, "expires": NOW, "replaced": None, "expired": True, "last_use": None}
    facts: dict[str, dict[str, Any]] = {
        "log-in": {
            "asked": {"kind": "code", "title": "Q", "login_page": "https://q.example/"},
            "pasted": [("token", "x")],
        },
        "revoke": {"asked": {"title": "Q"}},
        "client": {"client": shown["clients"][0] | {"listed": [key | {"grants": ["a/b"], "lent": False}], "next": 7}},
    }
    typed = {"grant": "questrade", "name": "notebook", "mount": "questrade", "reason": "<b>", "number": "1"}
    markup = form_of(name, shown, typed=typed, **facts.get(name, {}))
    page = Text(markup)

    fields = re.findall(r"<(?:input|select)\b[^>]*\bid=\"([\w-]+)\"", markup)
    labelled = re.findall(r"<label for=\"([\w-]+)\"", markup) + re.findall(
        r"<label class=\"check\"><input[^>]*id=\"([\w-]+)", markup
    )
    assert sorted(fields) == sorted(labelled)
    assert ("href", "/home/") in page.attributes
    assert "b" not in page.tags
    assert "LIVE" in page.text
    assert "/home/do/" in markup or name == "client"


def test_what_was_not_done_is_told_on_its_form() -> None:
    """Masked and as text, with what would help."""
    problem = Problem("account 26598145 says <b>no</b>", "bearerd status")
    text = Text(form_of("halt", status(mount()), problem=problem)).text
    assert "✗ Not done. account …145 says <b>no</b> To fix: bearerd status" in text
    assert "That could not be done" in form_of("failed", status(), problem=problem)


def test_a_new_key() -> None:
    """Once, with how it goes on; and nothing of it afterwards."""
    made = {
        "client": "bot",
        "number": 2,
        "key": Secret("brd_x1234567"),
        "expires": NOW,
        "warning": "no rights",
    }
    replaced = made | {"replaced": {"number": 1, "expires": NOW}}
    text = Text(PAGES.key(replaced, status(), "c5rf")).text

    for words in ("brd_x1234567", "It is shown this once.", "no rights", "Key 1 is refused from"):
        assert words in text
    assert "Key 1 is refused" not in PAGES.key(made, status(), "c5rf")
    assert "This key has been shown" in PAGES.key(None, status(), "c5rf")


def test_links_keep_the_rest_of_the_address() -> None:
    """But for what is said once."""
    link = link_of({"span": "1h", "mount": "a&b"})
    assert "./?span=24h&mount=a%26b" == link(span="24h")
    assert "./?span=1h" == link(mount="")
    assert "./" == link_of({})()
    assert "./?span=1h" == everything(status(), {"span": "1h", "done": "x", "paused": "1", "to": ""})["link"]()


def test_an_end_that_is_near_is_a_thing_to_do() -> None:
    """With the time, and the command; so are scopes that the login did not bring."""
    text = Text(page_of(status(mount(warning="it ends: bearerd login ada", ends=NOW + 2 * HOUR, dies=None)))).text
    assert "1 thing needs you Questrade (questrade): it ends: bearerd login ada Log in… Grants" in text
    assert f"Log in again within 2h00m {clock_time(NOW + 2 * HOUR)}" in text
    assert "! questrade" in text

    text = Text(page_of(status(mount(missing=["trade"])))).text
    assert "the login lacks the scope trade To fix: bearerd login questrade" in text
    assert "read_acc read_md the login lacks trade" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, f"unused, until {clock_time(NOW + 72 * HOUR)}"),
        ({"ends": NOW}, f"until {clock_time(NOW)}"),
        ({"dies": None, "access_expires": None}, "until it is revoked"),
        ({"dies": None}, "bearerd renews it by itself"),
        ({"granted": ["read", "trade"]}, "Scopes read trade Lasts"),
        ({"granted": ["read"], "missing": ["trade"]}, "Not granted trade: calls that need it"),
        ({"reason": "account 26598145 is odd"}, "account …145 is odd"),
    ],
    ids=range(7),
)
def test_the_end_of_a_login_says_what_it_brought(changes: dict[str, Any], words: str) -> None:
    """Which grant, which scopes, until when."""
    text = Text(PAGES.done("questrade", mount(**changes), "")).text

    assert "✓ Logged in questrade is logged in at questrade (practice)." in text
    assert words in text


def test_a_login_that_came_to_nothing_says_why_and_what_to_type() -> None:
    """Of one that belongs to no grant there is nothing to begin anew."""
    text = Text(PAGES.done("ada", None, "the broker's <b>no</b>")).text
    assert "The login of ada was not completed: the broker's <b>no</b>." in text
    assert "bearerd login ada" in text

    assert "Nothing was changed: no login waits." in Text(PAGES.done(None, None, "no login waits")).text


WHOLE = {
    "status": page_of(status(mount(login_here=True))), "empty": page_of(status()),
    "closed": PAGES.closed(), "left": PAGES.closed(left=True), "refused": PAGES.refused("Why.", "/home/"),
    "logged in": PAGES.done("ada", mount(), "", home="/home/"), "not logged in": PAGES.done("ada", None, "no"),
    "no login": PAGES.done(None, None, "no", home="/home/"), "leaving": PAGES.leaving("ada"),
    "halt": form_of("halt", status(mount())), "key": PAGES.key(None, status(), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_pages_are_whole_and_plain(name: str) -> None:
    """A language, a title, one h1 and one main; no inline script or style, nothing from elsewhere."""
    page = WHOLE[name]
    read = Text(page)

    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert (1, 1) == (read.tags.count("h1"), read.tags.count("main"))
    assert 1 == page.partition("</head>")[0].count("<title>")
    assert {"style", "iframe", "img", "meta http-equiv"}.isdisjoint(read.tags)
    assert read.tags.count("script") <= 1
    assert [] == [name for name, _ in read.attributes if name == "style" or name.startswith("on")]
    places = {value or "" for name, value in read.attributes if name in ("href", "src", "action", "formaction")}
    assert [] == [place for place in places if re.match(r"[a-z]+:|//", place)]


def test_a_paused_page_can_go_on() -> None:
    """A page that stands still says so, with the way back."""
    assert '<a href="./">keep it up to date</a>' in page_of(status(mount()), paused=True)
    filtered = everything(status(mount()), {"span": "24h"})
    assert '<a href="./?span=24h&amp;paused=1">pause</a>' in PAGES.status(filtered)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, `#rgb` or `#rrggbb`."""

    def luminance(colour: str) -> float:
        digits = colour.removeprefix("#")
        parts = [int((digits[i] * 2 if len(digits) == 3 else digits[2 * i : 2 * i + 2]), 16) / 255 for i in range(3)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read(scheme: int) -> None:
    """In both colour schemes each text colour has a contrast of at least 4.5 on what lies below it."""
    blocks = re.findall(r":root \{(.*?)\}", PAGES.css.decode(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", blocks[scheme]))

    grounds = ("paper", "raised", "sunk")
    pairs = [(ink, ground) for ink in ("text", "quiet", "link") for ground in grounds]
    pairs += [("on-live", "live"), ("on-accent", "accent"), *(("live", ground) for ground in grounds[:2])]
    assert 2 == len(blocks)
    assert [] == [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5]
    lines = ["edge", "c1", "c2", "c3", "c4"]  # what is no text
    assert [] == [line for line in lines if contrast(colours[line], colours["raised"]) < 3]
