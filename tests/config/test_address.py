from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.address import Tcp, Unix, Wrong, addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", (Tcp("127.0.0.1", 8080),)),
        ("0.0.0.0:0", (Tcp("0.0.0.0", 0),)),
        ("[::1]:8080", (Tcp("::1", 8080),)),
        ("[0:0:0:0:0:0:0:1]:1", (Tcp("::1", 1),)),
        ("localhost:65535", (Tcp("127.0.0.1", 65535), Tcp("::1", 65535))),
        ("unix:/run/b.sock", (Unix(Path("/run/b.sock")),)),
        ("tls:127.0.0.1:8443", (Tcp("127.0.0.1", 8443, tls=True),)),
        ("tls:localhost:1", (Tcp("127.0.0.1", 1, tls=True), Tcp("::1", 1, tls=True))),
    ],
)
def test_an_address_is_read(text: str, expected: object) -> None:
    """IPv4, IPv6 in brackets, both for localhost, and Unix sockets."""
    assert expected == addresses(text)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("8080", "lacks the address before the port", "write 127.0.0.1:PORT"),
        (":8080", "lacks the address before the port", "write 127.0.0.1:PORT"),
        ("bearerd.internal:80", "a listener needs an IP address, `localhost` or unix:PATH", "write 127.0.0.1:PORT"),
        ("*:80", "a listener needs an IP address, `localhost` or unix:PATH", "write 127.0.0.1:PORT"),
        ("127.0.0.1:65536", "the part after the last colon is no port", "write 0 to 65535"),
        ("127.0.0.1:٨٠", "the part after the last colon is no port", "write 0 to 65535"),
        ("127.0.0.1:", "the part after the last colon is no port", "write 0 to 65535"),
        ("::1:80", "square brackets belong around an IPv6 address, and only there", "write [::1]:80"),
        ("[127.0.0.1]:80", "square brackets belong around an IPv6 address, and only there", "write 127.0.0.1:80"),
        ("unix:b.sock", "the path of a Unix socket must be absolute", "write unix:/run/bearerd/bearerd.sock"),
        (f"unix:/{'x' * 103}", "the path of a Unix socket has at most 103 bytes", "choose a shorter one"),
        ("tls:unix:/b.sock", "a Unix socket has no TLS: nobody can read along there", "remove `tls:`"),
        ("tls:tls:127.0.0.1:1", "`tls:` stands there twice", "write tls:127.0.0.1:1"),
        ("tls:8443", "lacks the address before the port", "write 127.0.0.1:PORT"),
        ("tls:", "lacks the address before the port", "write 127.0.0.1:PORT"),
        ("TLS:127.0.0.1:1", "a listener needs an IP address, `localhost` or unix:PATH", "write 127.0.0.1:PORT"),
    ],
)
def test_a_wrong_address_is_explained(text: str, message: str, fix: str) -> None:
    """What is wrong and what to write."""
    with pytest.raises(Wrong) as caught:
        addresses(text)
    assert (message, fix) == (caught.value.message, caught.value.fix)


def test_who_can_reach_it() -> None:
    """Loopback and Unix sockets stay on this machine; 0.0.0.0 and :: are everywhere."""
    assert (True, True, False) == (Tcp("127.1.2.3", 1).loopback, Tcp("::1", 1).loopback, Tcp("10.0.0.1", 1).loopback)
    assert Unix(Path("/a")).loopback
    assert (True, True, False) == (Tcp("0.0.0.0", 1).everywhere, Tcp("::", 1).everywhere, Tcp("::1", 1).everywhere)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_prints_itself_back(ip: object, port: int) -> None:
    """`addresses(str(address))` is the address."""
    if "%" in str(ip):
        return
    address = Tcp(str(ip), port)
    secure = Tcp(str(ip), port, tls=True)
    assert (str(address), (secure,)) == (str(secure), addresses(secure.written))
    assert (address,) == addresses(str(address))
