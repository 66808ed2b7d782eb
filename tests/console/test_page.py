"""What the pages say, and what they never show."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from proxy.console.page import Pages, iso, masked, needs, sign
from proxy.secret import Secret
from proxy.spans import clock_time
from tests.console.shown import HOUR, NOW, mount, status

PAGES = Pages()
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


def test_a_healthy_server_in_words() -> None:
    """One look tells address, readiness, mount, token, calls and clients."""
    text = Text(PAGES.status(status(mount()))).text

    for words in (
        "http://127.0.0.1:8080 · ok · up 3h00m",
        "✓ questrade Questrade http://127.0.0.1:8080/questrade PRACTICE fresh renews in 24m",
        "read_acc read_md 1,840 2 12 s ago",
        "notebook questrade: read_acc read_md (1 key)",
        'curl -H "Authorization: Bearer $BEARERD_KEY" http://127.0.0.1:8080/questrade/…',
    ):
        assert words in text
    assert "need you" not in text


def test_members_are_counted_and_those_in_need_are_named() -> None:
    """A mount that serves members only needs no login for all."""
    needing = [{"grant": "alpaca/ann", "state": "needs-login", "fix": "bearerd login alpaca/ann"}]
    members = {"total": 1200, "states": {"fresh": 1199, "needs-login": 1}, "reading": False, "needing": needing}
    only = {"state": "none", "usable": False, "reason": "never logged in", "fix": "bearerd login alpaca"}
    text = Text(PAGES.status(status(mount("alpaca", members=members, **only)))).text

    assert "1 thing needs you Questrade (alpaca/ann): needs-login To fix: bearerd login alpaca/ann" in text
    assert "! alpaca" in text
    assert "for members 1,200 members: 1,199 fresh, 1 needs-login" in text
    assert "never logged in" not in text


def test_live_is_unmistakable() -> None:
    """Real money is said in words and in a label of its own colour; nothing else has that label."""
    live = PAGES.status(status(mount(environment="live")))

    assert '<strong class="live">LIVE</strong>' in live
    assert "LIVE real money" in Text(live).text
    assert "--live: #b3121d" in PAGES.css.decode()
    assert 'class="live"' not in PAGES.status(status(mount(environment="practice")))


def test_a_dead_token_says_what_to_type() -> None:
    """The mount that needs a login stands on top with reason and command, and its row says that it refuses calls."""
    text = Text(PAGES.status(status(mount(reason="invalid_grant", **DEAD), ready="needs-login: questrade"))).text

    assert "1 thing needs you Questrade (questrade): invalid_grant To fix: bearerd login questrade" in text
    assert "✗ questrade" in text
    assert f"needs-login, refuses calls since {clock_time(NOW - 3 * HOUR)}" in text


def test_mounts_of_one_grant_need_one_login() -> None:
    """Two mounts that share a dead grant are one thing to do; a warning is another."""
    shared = [mount(name, grant="ada", **DEAD) for name in ("a", "b")]

    assert [
        {"what": "Questrade (ada): needs-login", "fix": "bearerd login questrade", "login": None},
        {"what": "the file has changed", "fix": None, "login": None},
    ] == needs(status(*shared, warnings=["the file has changed"]))


def test_an_empty_server_shows_the_first_steps() -> None:
    """Without mounts the page says how to begin."""
    text = Text(PAGES.status(status(clients=[]))).text

    assert "First steps bearerd init writes" in text
    assert "No program may call yet." in text
    assert "Mounts" not in text


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ({"name": "a", "keys": 2, "rights": None, "in_config": True}, "everything that the mounts allow (2 keys)"),
        ({"name": "a", "keys": 0, "rights": {}, "in_config": True}, "nothing (0 keys)"),
        ({"name": "a", "keys": 1, "rights": {"q": []}, "in_config": True}, "q: nothing (1 key)"),
        ({"name": "a", "keys": 1, "rights": {"q": ["x"], "t": ["y", "z"]}, "in_config": True}, "q: x · t: y z (1 key)"),
        ({"name": "a", "keys": 1, "rights": None, "in_config": False}, "not in the configuration"),
    ],
)
def test_what_a_client_may_do(client: dict[str, object], words: str) -> None:
    """Rights are spelled out; none at all is said, too."""
    assert words in Text(PAGES.status(status(mount(), clients=[client | {"last_use": None}]))).text


def test_a_client_s_last_use_is_told() -> None:
    """So that a key that nobody needs can be found."""
    client = {"name": "a", "keys": 1, "rights": {"q": ["x"]}, "in_config": True}
    shown = status(mount(), now=1.8e9, clients=[client | {"last_use": 1.8e9 - 90}])
    assert "q: x (1 key, used 1m ago)" in " ".join(Text(PAGES.status(shown)).text.split())


def test_a_halt_comes_first_among_what_needs_somebody() -> None:
    """With its words and the command that lifts it; what a person has written is text."""
    halt = {"text": "Halted: every mount, since now by <b>: fat finger.", "resume": "bearerd resume --reason TEXT"}
    page = Text(PAGES.status(status(mount(**DEAD), halts=[halt])))

    assert "2 things need you" in page.text
    assert page.text.index("Halted: every mount, since now by <b>: fat finger.") < page.text.index("bearerd login")
    assert "bearerd resume --reason TEXT" in page.text
    assert "b" not in page.tags


def test_an_open_server_says_so() -> None:
    """With `clients: none` the page says that anybody may call, and the example sends no key."""
    text = Text(PAGES.status(status(mount(), open_to_all=True, clients=[]))).text

    assert "Any program on this machine may call" in text
    assert "curl http://127.0.0.1:8080/questrade/…" in text


def test_what_a_broker_says_is_text() -> None:
    """Markup in a reason, a name or a warning stays text."""
    evil = "<script>alert(1)</script>\"'><img src=x>"
    shown = status(mount(evil, reason=evil, title=evil, grant=evil, **DEAD), warnings=[evil], ready=evil, config=evil)
    page = Text(PAGES.status(shown))

    assert {"script", "img"}.isdisjoint(page.tags)
    assert evil in page.text


def test_no_secret_and_no_account_number_is_shown() -> None:
    """Known secrets, what looks like one, the console's own link and account numbers stay off the page."""
    Secret("r3fresh-me-n0t")
    reason = "account 26598145 of VA12345678: Bearer abcdefgh1234567, r3fresh-me-n0t"
    page = PAGES.status(status(mount(reason=reason, **DEAD), warnings=[reason]))

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
    ],
)
def test_masking(text: str, expected: str) -> None:
    """Long numbers lose all but three digits; ports, years and codes stay."""
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


def test_a_login_over_the_broker_s_page_has_a_button() -> None:
    """Where the console can take the browser back: beside what is to be done, or to log in again."""
    shown: dict[str, Any] = {"login_kind": "code", "login_here": True}
    dead = Text(PAGES.status(status(mount(**DEAD | shown)), csrf="c5rf"))
    well = Text(PAGES.status(status(mount(**shown)), csrf="c5rf"))

    assert "Log in on the broker's page" in dead.text
    assert "Log in again" in well.text
    for page in (dead, well):
        assert 1 == page.tags.count("form")
        assert {("method", "post"), ("action", "login"), ("value", "c5rf"), ("value", "questrade")} <= {
            *page.attributes
        }
    assert "form" not in Text(PAGES.status(status(mount(**DEAD)))).tags


def test_an_end_that_is_near_is_a_thing_to_do() -> None:
    """With the time, and the command; so are scopes that the login did not bring."""
    text = Text(PAGES.status(status(mount(warning="it ends: bearerd login ada", ends=NOW + 2 * HOUR, dies=None)))).text
    assert "1 thing needs you Questrade (questrade): it ends: bearerd login ada Mounts" in text
    assert f"log in again before {clock_time(NOW + 2 * HOUR)}" in text
    assert "! questrade" in text

    text = Text(PAGES.status(status(mount(missing=["trade"])))).text
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


@pytest.mark.parametrize(
    "page",
    [
        PAGES.status(status(mount(login_here=True))), PAGES.closed(), PAGES.done("ada", mount(), ""),
        PAGES.done("ada", None, "no"), PAGES.done(None, None, "no"), PAGES.leaving("ada"),
    ],
    ids=["status", "closed", "logged in", "not logged in", "no login", "leaving"],
)  # fmt: skip
def test_pages_are_whole_and_plain(page: str) -> None:
    """A language, one h1 and one main; no script, no inline style, nothing from elsewhere."""
    read = Text(page)

    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert (1, 1) == (read.tags.count("h1"), read.tags.count("main"))
    assert "action" not in dict(read.attributes) or "login" == dict(read.attributes)["action"]
    assert {"script", "style", "iframe", "img"}.isdisjoint(read.tags)
    assert [] == [name for name, _ in read.attributes if name == "style" or name.startswith("on")]
    assert {"/console.css"} == {value for name, value in read.attributes if name in ("href", "src")} - {"./?paused"}


def test_a_paused_page_can_go_on() -> None:
    """A page that stands still says so, with the way back."""
    assert '<a href="./">keep up to date</a>' in PAGES.status(status(mount()), paused=True)


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

    pairs = [("text", "paper"), ("text", "raised"), ("quiet", "paper"), ("quiet", "raised"), ("link", "paper")]
    pairs.append(("on-live", "live"))
    assert 2 == len(blocks)
    assert [] == [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5]
