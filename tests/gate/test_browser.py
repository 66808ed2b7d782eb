from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.browser import Hosts, check, check_redirect, check_typed

HOSTS = Hosts(["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "bearerd.internal", "lab.internal:*", "Desk:8080"])
OURS = (b"Host", b"127.0.0.1:8080")

Headers = Sequence[tuple[bytes, bytes]]


def _outcome(method: str, headers: Headers, hosts: Hosts | None = HOSTS, own_origin: str | None = None) -> str:
    try:
        check(method, headers, hosts, own_origin=own_origin)
    except Refusal as refusal:
        return refusal.kind.name
    return "pass"


GOOD_HOSTS = [
    b"127.0.0.1:8080", b"localhost:8080", b"LocalHost:8080", b"[::1]:8080", b"bearerd.internal", b"BEARERD.internal",
    b"lab.internal:1", b"lab.internal:65535", b"lab.internal", b"desk:8080", b" 127.0.0.1:8080 ",
]  # fmt: skip
BAD_HOSTS = [
    b"", b"evil.test", b"evil.test:8080", b"127.0.0.1", b"127.0.0.1:8081", b"127.0.0.1:80800", b"127.0.0.1:08080",
    b"127.0.0.2:8080",
    b"localhost", b"localhost.:8080", b"localhost:8080.evil.test", b"x.localhost:8080", b"0.0.0.0:8080", b"[::1]",
    b"::1:8080",
    b"[::]:8080", b"[::ffff:127.0.0.1]:8080", b"127.1:8080", b"2130706433:8080", b"0x7f.1:8080",
    b"127.0.0.1:8080@evil.test",
    b"a@127.0.0.1:8080", b"127.0.0.1:8080/x", b"127.0.0.1:8080, evil.test", b"127.0.0.1:8080\x00",
    b"bearerd.internal:80",
    b"lab.internal:", b"lab.internal:x", b"lab.internal:123456", b"lab.internal:1:2", b"xlab.internal:1",
    b"lab.internal.evil.test:1",
    b"bearerd.internal.evil.test", b"rebound.evil.test:8080",
    b"lab.internal:*", b"127.0.0.1:80", b"127.0.0.1:80:1", b"bearerd.intern", b"bearerd.intern:80",
]  # fmt: skip


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_our_own_names_pass(host: bytes) -> None:
    """A Host that we serve passes, in any letter case, also of the configuration."""
    assert "pass" == _outcome("GET", [(b"host", host)])


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_host_is_wrong(method: str, host: bytes) -> None:
    """A re-bound name, another port or another spelling of an address is 421."""
    assert "wrong-host" == _outcome(method, [(b"Host", host)])


def test_exactly_one_host_is_needed() -> None:
    """None and two are wrong, even two that agree."""
    assert "wrong-host" == _outcome("GET", [])
    assert "wrong-host" == _outcome("GET", [OURS, OURS])


DATA = [
    ("GET", [], "pass"),
    ("POST", [], "pass"),
    ("DELETE", [], "pass"),
    ("GET", [(b"Origin", b"null")], "cross-site"),
    ("GET", [(b"Origin", b"https://evil.test")], "cross-site"),
    ("POST", [(b"Origin", b"https://evil.test")], "cross-site"),
    ("GET", [(b"Origin", b"http://127.0.0.1:8080")], "cross-site"),
    ("POST", [(b"origin", b"http://localhost:8080")], "cross-site"),
    ("GET", [(b"Origin", b"")], "cross-site"),
    ("GET", [(b"Origin", b"chrome-extension://abc")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"cross-site")], "cross-site"),
    ("POST", [(b"Sec-Fetch-Site", b"cross-site")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"same-site")], "cross-site"),
    ("GET", [(b"sec-fetch-site", b"same-origin")], "cross-site"),
    ("POST", [(b"Sec-Fetch-Site", b"same-origin")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"none")], "pass"),
    ("HEAD", [(b"Sec-Fetch-Site", b"none")], "pass"),
    ("POST", [(b"Sec-Fetch-Site", b"none")], "cross-site"),
    ("DELETE", [(b"Sec-Fetch-Site", b"none")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"None")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"new-word")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"none"), (b"Sec-Fetch-Site", b"cross-site")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"none, cross-site")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Mode", b"cors")], "pass"),
    ("POST", [(b"Sec-Fetch-Mode", b"cors")], "pass"),
    ("GET", [(b"Referer", b"https://evil.test/")], "pass"),
    ("OPTIONS", [(b"Origin", b"https://evil.test"), (b"Access-Control-Request-Method", b"GET")], "cross-site"),
    ("OPTIONS", [(b"Access-Control-Request-Method", b"POST")], "cross-site"),
    ("OPTIONS", [(b"Access-Control-Request-Private-Network", b"true")], "cross-site"),
    ("GET", [(b"Access-Control-Request-Headers", b"authorization")], "cross-site"),
    ("GET", [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")], "pass"),
    ("GET", [(b"Upgrade", b"websocket"), (b"Origin", b"https://evil.test")], "cross-site"),
    ("GET", [(b"Upgrade", b"websocket"), (b"Sec-Fetch-Site", b"cross-site")], "cross-site"),
    ("GET", [(b"Sec-Fetch-Site", b"none"), (b"Origin", b"https://evil.test")], "cross-site"),
]


@pytest.mark.parametrize(("method", "headers", "outcome"), DATA)
def test_a_data_listener_takes_programs_only(method: str, headers: Headers, outcome: str) -> None:
    """No page may call: any Origin, any preflight and any Sec-Fetch-Site but a typed address are refused."""
    assert outcome == _outcome(method, [OURS, *headers])


@pytest.mark.parametrize(("method", "headers", "outcome"), DATA)
def test_a_unix_socket_keeps_all_but_the_host_rule(method: str, headers: Headers, outcome: str) -> None:
    """Without host names the other rules still hold, and any Host passes."""
    assert outcome == _outcome(method, headers, None)
    assert outcome == _outcome(method, [(b"Host", b"evil.test"), *headers], None)


@pytest.mark.parametrize("value", [b"none", b"", b"same-origin"])
def test_an_address_bar_changes_nothing(value: bytes) -> None:
    """It may have been filled by a redirect; a program says nothing of a site, and reads may be typed."""
    typed = (b"sec-fetch-SITE", value)
    check_typed([OURS, typed], mutating=False)
    check_typed([OURS, (b"Sec-Fetch-Mode", b"cors")], mutating=True)
    with pytest.raises(Refusal) as caught:
        check_typed([OURS, typed], mutating=True)
    assert "cross-site" == caught.value.kind.name


CONSOLE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("method", "headers", "outcome"),
    [
        ("GET", [], "pass"),
        ("GET", [(b"Sec-Fetch-Site", b"same-origin")], "pass"),
        ("POST", [(b"Sec-Fetch-Site", b"same-origin"), (b"Origin", CONSOLE.encode())], "pass"),
        ("GET", [(b"Sec-Fetch-Site", b"none")], "pass"),
        ("POST", [(b"Sec-Fetch-Site", b"none")], "cross-site"),
        ("POST", [(b"Origin", b"http://127.0.0.1:8081")], "cross-site"),
        ("POST", [(b"Origin", b"HTTP://127.0.0.1:8080")], "cross-site"),
        ("POST", [(b"Origin", CONSOLE.encode()), (b"Origin", b"https://evil.test")], "cross-site"),
        ("POST", [(b"Origin", b"null")], "cross-site"),
        ("GET", [(b"Sec-Fetch-Site", b"same-site")], "cross-site"),
        ("GET", [(b"Sec-Fetch-Site", b"cross-site")], "cross-site"),
        ("OPTIONS", [(b"Origin", CONSOLE.encode()), (b"Access-Control-Request-Method", b"POST")], "cross-site"),
    ],
)
def test_a_listener_with_pages_takes_its_own(method: str, headers: Headers, outcome: str) -> None:
    """Where pages are served, exactly their own origin passes."""
    assert outcome == _outcome(method, [OURS, *headers], own_origin=CONSOLE)


def test_the_host_is_judged_before_the_origin() -> None:
    """A call that is wrong in both ways is told of its Host."""
    assert "wrong-host" == _outcome("GET", [(b"Host", b"evil.test"), (b"Origin", b"https://evil.test")])


def test_a_refusal_quotes_nothing_and_tells_what_to_do() -> None:
    """The strange Host and Origin do not come back in the answer."""
    for headers in ([(b"Host", b"evil.test")], [OURS, (b"Origin", b"https://evil.test")]):
        with pytest.raises(Refusal) as caught:
            check("GET", headers, HOSTS)
        assert "evil" not in f"{caught.value!r} {caught.value.fix}"
        assert caught.value.fix
    assert "Hosts(['a.test:1', 'b.test:*'])" == repr(Hosts(["a.test:1", "b.test:*"]))


# -- a broker's redirect

NAVIGATION = ((b"Sec-Fetch-Site", b"cross-site"), (b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document"))


def _redirect(*headers: tuple[bytes, bytes], hosts: Hosts | None = HOSTS) -> str:
    try:
        check_redirect(headers, hosts)
    except Refusal as refusal:
        return refusal.kind.name
    return "pass"


@pytest.mark.parametrize(
    "headers",
    [(), NAVIGATION, ((b"sec-fetch-site", b"none"), *NAVIGATION[1:]), (*NAVIGATION, (b"Sec-Fetch-User", b"?1"))],
    ids=["a program", "from another site", "typed", "by a click"],
)
def test_a_person_s_browser_may_be_sent_here(headers: Headers) -> None:
    """From another site too, if it navigates a whole window; a program says nothing of this."""
    assert "pass" == _redirect(OURS, *headers)
    assert "pass" == _redirect(*headers, hosts=None)


@pytest.mark.parametrize(
    "header",
    [
        (b"Origin", b"https://login.example"), (b"Origin", b"null"), (b"Origin", b"http://127.0.0.1:8080"),
        (b"Sec-Fetch-Mode", b"no-cors"), (b"Sec-Fetch-Mode", b"cors"), (b"Sec-Fetch-Mode", b""),
        (b"Sec-Fetch-Dest", b"iframe"), (b"sec-fetch-dest", b"image"), (b"Access-Control-Request-Method", b"GET"),
        (b"Sec-Purpose", b"prefetch"), (b"Sec-Purpose", b"prefetch;prerender"), (b"Purpose", b"prefetch"),
        (b"X-Purpose", b"preview"), (b"X-moz", b"prefetch"),
    ],
    ids=range(14),
)  # fmt: skip
def test_nothing_else_may_come_as_a_redirect(header: tuple[bytes, bytes]) -> None:
    """No script, image or frame, and nothing ahead of time: a second value beside a good one counts."""
    assert "cross-site" == _redirect(OURS, *NAVIGATION, header)


def test_a_redirect_says_its_mode_if_it_says_its_site() -> None:
    """No browser sends the one without the other."""
    assert "cross-site" == _redirect(OURS, NAVIGATION[0])


@pytest.mark.parametrize("headers", [(), (OURS, OURS), ((b"Host", b"evil.test"),)], ids=range(3))
def test_a_redirect_comes_to_a_name_of_ours(headers: Headers) -> None:
    """One, and exactly."""
    assert "wrong-host" == _redirect(*headers, *NAVIGATION)


UPGRADE = (b"Upgrade", b"websocket")
ITSELF = (b"Origin", b"http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ([OURS, UPGRADE, ITSELF], True),
        ([OURS, (b"upgrade", b" WebSocket "), ITSELF], True),
        ([(b"Host", b"localhost:8080"), UPGRADE, (b"Origin", b"http://localhost:8080")], True),
        ([OURS, ITSELF], False),
        ([OURS, (b"Upgrade", b"h2c"), ITSELF], False),
        ([OURS, UPGRADE, UPGRADE, ITSELF], False),
        ([OURS, UPGRADE, ITSELF, ITSELF], False),
        ([OURS, UPGRADE, (b"Origin", b"https://127.0.0.1:8080")], False),
        ([OURS, UPGRADE, (b"Origin", b"http://localhost:8080")], False),
        ([OURS, UPGRADE, (b"Origin", b"http://127.0.0.1:8080/")], False),
        ([OURS, UPGRADE, (b"Origin", b"http://127.0.0.1:8081")], False),
        ([OURS, UPGRADE, (b"Origin", b"null")], False),
        ([(b"Host", b"evil.test"), UPGRADE, (b"Origin", b"http://evil.test")], False),
        ([OURS, UPGRADE, ITSELF, (b"Sec-Fetch-Mode", b"websocket")], False),
        ([OURS, UPGRADE, ITSELF, (b"Sec-Fetch-Site", b"same-origin")], False),
        ([OURS, UPGRADE, ITSELF, (b"Accept-Language", b"en-US")], False),
        ([OURS, UPGRADE, ITSELF, (b"cookie", b"a=b")], False),
        ([OURS, UPGRADE, ITSELF, (b"Pragma", b"no-cache")], False),
        ([OURS, UPGRADE, ITSELF, (b"cache-control", b"no-cache")], False),
        ([OURS, UPGRADE, ITSELF, (b"User-Agent", b"Mozilla/5.0 (Macintosh)")], False),
        ([OURS, UPGRADE, ITSELF, (b"User-Agent", b"my-program/1.0")], True),
    ],
)
def test_a_handshake_may_name_the_address_it_calls(headers: Headers, passes: bool) -> None:
    """Where all callers have to show a key, and nothing looks like a browser; where nobody has to, never."""

    def outcome(scheme: str | None) -> bool:
        try:
            check("GET", headers, HOSTS, scheme=scheme)
        except Refusal:
            return False
        return True

    assert (passes, False) == (outcome("http"), outcome(None))


def _slowly(method: str, headers: Headers, hosts: Hosts | None) -> str:
    """What `check` says where there are no pages and no keys: one rule after the other."""
    found = [(name.lower(), value.strip(b" \t")) for name, value in headers]
    named = [value for name, value in found if name == b"host"]
    if hosts is not None and not (len(named) == 1 and hosts.allow(named[0])):
        return "wrong-host"
    if any(name == b"origin" or name.startswith(b"access-control-request-") for name, _ in found):
        return "cross-site"
    sites = {value for name, value in found if name == b"sec-fetch-site"}
    return "pass" if not sites or (sites == {b"none"} and method in ("GET", "HEAD")) else "cross-site"


_NAMES = st.sampled_from([
    b"Host", b"host", b"HOST", b"Origin", b"oRigin", b"Sec-Fetch-Site", b"sec-fetch-site", b"Sec-Fetch-Mode", b"Accept",
    b"Access-Control-Request-Method", b"access-control-request-x", b"Access-Control-Allow-Origin", b"X-Host", b"Hosts",
])  # fmt: skip
_VALUES = st.sampled_from(
    [b"127.0.0.1:8080", b" desk:8080\t", b"evil.test", b"", b"none", b"None", b"cross-site", b"null"]
)


@given(
    st.lists(st.tuples(_NAMES | st.binary(max_size=5), _VALUES), max_size=5),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([HOSTS, None]),
)
def test_programs_are_seen_at_once_and_nobody_else(
    headers: list[tuple[bytes, bytes]], method: str, hosts: Hosts
) -> None:
    """The short look at a call without anything of a browser's says what the rules say, in any order and spelling."""
    for found in (headers, [OURS, *headers]):
        assert _slowly(method, found, hosts) == _outcome(method, found, hosts)


def test_names_that_nobody_repeats_are_judged_like_any() -> None:
    """However many a stranger has sent before."""
    for number in range(3000):
        assert "pass" == _outcome("GET", [OURS, (b"X-%d" % number, b"1")])
        assert "cross-site" == _outcome("GET", [OURS, (b"Access-Control-Request-%d" % number, b"1")])
    assert "cross-site" == _outcome("GET", [OURS, (b"Origin", b"http://evil.test")])
    assert "wrong-host" == _outcome("GET", [])
