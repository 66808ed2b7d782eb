"""Where a bearer may go: the few shapes of a good `api_server`, and everything that tries to look like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers.origin import HostPattern, Origin, is_private, pinned, read_api_server

LIVE = (HostPattern.parse("api##.iq.questrade.com"),)
LAB = (HostPattern.parse("127.0.0.1:*"), HostPattern.parse("localhost:9443"), HostPattern.parse("[::1]:*"))
GOOD = "api01.iq.questrade.com"

HOSTILE = [
    # Another host that begins, ends or hides like ours.
    f"https://{GOOD}.evil.example/", f"https://{GOOD}evil.example/", f"https://evil.example/{GOOD}/",
    f"https://evil.example/?{GOOD}", f"https://evil.example/#{GOOD}", f"https://evil-{GOOD}/", f"https://x.{GOOD}/",
    "https://iq.questrade.com/", "https://api1.iq.questrade.com/", "https://api001.iq.questrade.com/",
    "https://apiab.iq.questrade.com/", "https://api01.iq.questrade.com.", f"https://{GOOD}./", f"https://.{GOOD}/",
    "https://api01xiq.questrade.com/", "https://api01.iq.questrade.co/", "https://api01.iq.questrade.community/",
    "https://api01.iq.questradeXcom/", "https://api01.iq.questrade-com/", "https://practice.questrade.com/",
    # User information, ports, schemes.
    f"https://user@{GOOD}/", f"https://user:pass@{GOOD}/", f"https://{GOOD}@evil.example/",
    f"https://{GOOD}:443@evil.example/",
    f"https://{GOOD}%40evil.example/", f"https://{GOOD}:8443/", f"https://{GOOD}:0/", f"https://{GOOD}:65536/",
    f"https://{GOOD}:-1/", f"https://{GOOD}:/", f"https://{GOOD}:443:443/", f"https://{GOOD}:4 43/",
    f"https://{GOOD}:\u0664\u0664\u0663/",
    f"http://{GOOD}/", f"ftp://{GOOD}/", f"wss://{GOOD}/", f"HTTPS://{GOOD}/", f"https:/{GOOD}/", f"https:{GOOD}",
    f"https:///{GOOD}/", f"//{GOOD}/", GOOD, f"{GOOD}/", "javascript:alert(1)", "file:///etc/passwd",
    "data:text/html,x",
    # A path, a query, a fragment.
    f"https://{GOOD}/v2/", f"https://{GOOD}/v1/accounts", f"https://{GOOD}//", f"https://{GOOD}/v1//",
    f"https://{GOOD}/../",
    f"https://{GOOD}/./", f"https://{GOOD}/v1/..", f"https://{GOOD}?", f"https://{GOOD}/?x=1", f"https://{GOOD}#",
    f"https://{GOOD}/%2e%2e/", f"https://{GOOD}/V1/", f"https://{GOOD};x/",
    # Bytes that parsers drop, fold or turn into others.
    f" https://{GOOD}/", f"https://{GOOD}/ ", f"https://{GOOD}/\n", f"\nhttps://{GOOD}/",
    f"https://{GOOD}\n.evil.example/",
    f"https://{GOOD}\r\nHost: evil.example/", f"https://{GOOD}\t/", f"https://{GOOD}\x00.evil.example/",
    f"https://{GOOD}\\@evil.example/",
    f"https:\\\\{GOOD}\\", f"https://{GOOD}\\.evil.example", "https://API01.IQ.QUESTRADE.COM/",
    "https://Api01.iq.questrade.com/",
    "https://api01\u3002iq\u3002questrade\u3002com/", "https://api01.iq.questrade\u3002com/",
    "https://\uff41pi01.iq.questrade.com/",
    "https://api\uff10\uff11.iq.questrade.com/", "https://api\u0660\u0661.iq.questrade.com/",
    "https://\u0430pi01.iq.questrade.com/",
    "https://api01.iq.que\ufb06rade.com/", "https://api01.iq.questrade.\u200bcom/", f"https://{GOOD}\u2028/",
    "https://xn--api01-abc.iq.questrade.com/",
    "https://%61pi01.iq.questrade.com/", "https://api01%2eiq.questrade.com/", f"https://{GOOD}%00/",
    f"\ufeffhttps://{GOOD}/",
    # Addresses.
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/", "https://localhost/", "https://10.0.0.1/",
    "https://[fe80::1%25eth0]/",
    f"https://[{GOOD}]/", "https://[/", "https://]/", "https://0/",
    # Nothing, too much, and what is no text.
    "", "/", "https://", "https:///", "https:// /", f"https://{'a' * 300}.questrade.com/", f"https://{GOOD}/" * 2,
    "null", "#", "*",
    f"https://{'api01.' * 60}iq.questrade.com/", None, 1, True, 1.5, [f"https://{GOOD}/"], {"host": GOOD},
    b"https://api01.iq.questrade.com/",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_no_hostile_api_server_is_accepted(value: object) -> None:
    """It is either of no known shape or outside the pin."""
    origin = read_api_server(value)

    assert origin is None or not pinned(origin, LIVE)


def test_there_are_enough_hostile_values_and_no_two_alike() -> None:
    """Sixty at the least."""
    assert 60 <= len({repr(value) for value in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("port", ["", ":443"])
def test_the_shapes_of_good_answers_are_accepted(port: str, tail: str) -> None:
    """All name the same origin."""
    origin = read_api_server(f"https://{GOOD}{port}{tail}")

    assert Origin(GOOD, 443) == origin
    assert origin is not None
    assert pinned(origin, LIVE)


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("https://127.0.0.1:9443/", True), ("https://127.0.0.1:1/v1/", True), ("https://127.0.0.1/", True),
        ("https://localhost:9443/", True), ("https://localhost:9444/", False), ("https://localhost/", False),
        ("https://[::1]:9443/", True), ("https://[::2]:9443/", False), ("https://127.0.0.2:9443/", False),
        ("https://127x0.0.1:9443/", False),
    ],
)  # fmt: skip
def test_a_lab_names_its_hosts_and_ports(value: str, *, accepted: bool) -> None:
    """A star takes any port, a number that one."""
    origin = read_api_server(value)

    assert origin is not None
    assert accepted == pinned(origin, LAB)


def test_without_a_pattern_nothing_is_accepted() -> None:
    """Default deny."""
    assert not pinned(Origin(GOOD, 443), ())


@given(st.text(max_size=60) | st.from_regex(r"https://api[0-9]{2}\.iq\.questrade\.com.{0,20}", fullmatch=True))
def test_what_is_accepted_is_one_of_the_known_shapes(value: str) -> None:
    """For any text."""
    origin = read_api_server(value)
    if origin is not None and pinned(origin, LIVE):
        assert value in {
            f"https://{origin.host}{port}{tail}" for port in ("", ":443") for tail in ("", "/", "/v1", "/v1/")
        }


@given(st.text(max_size=20))
def test_any_pattern_is_read_or_refused_in_one_sentence(text: str) -> None:
    """It never raises anything else, and a pattern that is read keeps its text."""
    try:
        read = HostPattern.parse(text).text
    except ValueError as error:
        read = str(error)
    assert text in read or repr(text) in read


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "*.questrade.com", "api..com", "-a.com", ".a.com", "a.com.", "A.com", "a b", "a.com:0", "a.com:65536",
        "a.com:x", "a.com:\u0664", "https://a.com", "a.com/", "a.com:*:*", "user@a.com", "api[0-9].com", "[::1]x",
    ],
)  # fmt: skip
def test_a_pattern_that_could_mean_more_than_it_says_is_refused(text: str) -> None:
    """Hosts in lower case, digits by `#`, ports by number or star, and nothing else."""
    with pytest.raises(ValueError, match=r"is no host|no valid port"):
        HostPattern.parse(text)


@pytest.mark.parametrize("text", ["#", "10.0.0.#:*", "###.###.###.###:*", "1-#"])
def test_no_pattern_takes_many_addresses(text: str) -> None:
    """An address that is not spelled out could not be seen to be private."""
    with pytest.raises(ValueError, match="would take many addresses; write each one out"):
        HostPattern.parse(text)


@pytest.mark.parametrize("address", [
    "0.0.0.0", "100.64.0.1", "::", "fe80::1", "::ffff:127.0.0.1", "192.0.2.1", "::127.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::a00:1", "2002:7f00:1::", "fec0::1", "224.0.0.1", "ff02::1",
])  # fmt: skip
def test_an_address_off_the_public_internet_is_private(address: str) -> None:
    """In whatever notation; a name is not an address."""
    assert is_private(address)
    assert not is_private("localhost")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::", "::ffff:8.8.8.8"]
)
def test_a_public_address_is_not_private(address: str) -> None:
    """Nor is one that a network without IPv4 writes in its own notation."""
    assert not is_private(address)


@pytest.mark.parametrize(("origin", "text"), [(Origin("a.com", 443), "a.com"), (Origin("a.com", 8443), "a.com:8443")])
def test_an_origin_is_written_without_the_usual_port(origin: Origin, text: str) -> None:
    """For messages; never to append a path to."""
    assert text == str(origin)
