"""Answers that no honest broker sends, as data: the bytes, and what the client gets to see of them.

The families are those of RFC 9112 and of the tests that parsers of HTTP have for answers; the bytes are our own.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\n{}"  # the rest of an answer whose body is `{}`
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b'HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 10\r\n\r\n"smuggled"'

# What becomes of an answer. For an order, whatever is no PASSES is `outcome-unknown`.
BAD = "502 bad-answer"
GONE = "502 broker-unreachable"
CUT = "cut off in its body"
PASSES = "200"


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile answer. `seen` is what a read gets: a status, a refusal of ours, or CUT; `method` of the read."""

    name: str
    data: bytes
    seen: str
    method: str = "GET"
    body: bytes | None = None  # what must have come, if it passed


def _cases(seen: str, answers: dict[str, bytes], *, method: str = "GET", body: bytes | None = None) -> Iterator[Case]:
    yield from (Case(name, data, seen, method, body) for name, data in answers.items())


# -- the first line ---------------------------------------------------------------------------------------------------

_LINES_BAD = {
    "status 000": b"HTTP/1.1 000 X", "status 001": b"HTTP/1.1 001 X", "status 099": b"HTTP/1.1 099 X",
    "status 600": b"HTTP/1.1 600 X", "status 799": b"HTTP/1.1 799 X", "status 999": b"HTTP/1.1 999 X",
    "status of one digit": b"HTTP/1.1 2 X", "status of two digits": b"HTTP/1.1 20 X",
    "status of four digits": b"HTTP/1.1 2000 X", "status of five digits": b"HTTP/1.1 20000 X",
    "status below zero": b"HTTP/1.1 -200 X", "status with a plus": b"HTTP/1.1 +200 X",
    "status in hexadecimal": b"HTTP/1.1 0xC8 X", "status in other digits": "HTTP/1.1 ٢٠٠ X".encode(),
    "status with blanks": b"HTTP/1.1 2 0 0 X", "no status": b"HTTP/1.1", "status of letters": b"HTTP/1.1 OK 200",
    "version 0.9": b"HTTP/0.9 200 OK", "version 2": b"HTTP/2 200 OK", "version 2.0": b"HTTP/2.0 200 OK",
    "version 3.0": b"HTTP/3.0 200 OK", "version 11.1": b"HTTP/11.1 200 OK", "version 1.10": b"HTTP/1.10 200 OK",
    "version 1": b"HTTP/1 200 OK", "version with letters": b"HTTP/1.x 200 OK", "lower case": b"http/1.1 200 OK",
    "HTTPS": b"HTTPS/1.1 200 OK", "ICY": b"ICY 200 OK", "one letter less": b"HTP/1.1 200 OK",
    "one letter more": b"HTTTP/1.1 200 OK", "no blank": b"HTTP/1.1200 OK", "a tab": b"HTTP/1.1\t200 OK",
    "a slash too many": b"HTTP//1.1 200 OK", "a comma": b"HTTP/1,1 200 OK", "a leading blank": b" HTTP/1.1 200 OK",
    "leading junk": b"x\r\nHTTP/1.1 200 OK", "a request": b"GET / HTTP/1.1", "a mail server": b"220 mail.example ESMTP",
    "a shell": b"SSH-2.0-OpenSSH_9.9", "a TLS record": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    "HTTP/2 frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "zeros": b"\0" * 64, "a page": b"<html><body>Hello",
    "a reason of 9,000 bytes": b"HTTP/1.1 200 " + b"x" * 9000,
}  # fmt: skip
_LINES_GOOD = {
    "no reason": b"HTTP/1.1 200", "NUL in the reason": b"HTTP/1.1 200 O\0K", "an empty reason": b"HTTP/1.1 200 ",
    "8-bit bytes in the reason": b"HTTP/1.1 200 \xff", "version 1.0": b"HTTP/1.0 200 OK",
    "a leading line end": b"\r\nHTTP/1.1 200 OK", "markup in the reason": b"HTTP/1.1 200 <script>alert(1)</script>",
}  # fmt: skip


def first_lines() -> Iterator[Case]:
    yield from _cases(BAD, {name: line + b"\r\n" + TWO for name, line in _LINES_BAD.items()})
    yield from _cases(PASSES, {name: line + b"\r\n" + TWO for name, line in _LINES_GOOD.items()}, body=b"{}")


# -- header lines -----------------------------------------------------------------------------------------------------

_HEADERS_BAD = {
    "no colon": b"X-Odd", "no name": b": x", "a blank before the colon": b"X-Odd : x",
    "a blank in the name": b"X Odd: x", "a tab in the name": b"X\tOdd: x", "NUL in the name": b"X\0Odd: x",
    "an 8-bit name": b"X-\xff: x", "a quote in the name": b'X"Odd: x', "a bracket in the name": b"X(Odd): x",
    "a slash in the name": b"X/Odd: x", "NUL in the value": b"X-Odd: a\0b",
    "a name of 17,000 bytes": b"X" * 17_000 + b": x", "a value of 17,000 bytes": b"X-Odd: " + b"x" * 17_000,
}  # fmt: skip
_HEADERS_GOOD = {
    "a blank first line": b" X-Odd: x", "an empty value": b"X-Odd:", "a value of blanks": b"X-Odd:  \t ",
    "an underscore": b"X_Odd: x", "an 8-bit value": b"X-Odd: \xff\xfe", "a value of two lines": b"X-Odd: a\r\n\tb",
    "a control byte": b"X-Odd: a\x01b", "DEL in the value": b"X-Odd: a\x7fb", "a colon in the value": b"X-Odd: :a:b:",
    "a line end alone": b"X-Odd: a\nX-More: b", "markup in the value": b"X-Odd: <script>alert(1)</script>",
    "a header of ours": b"Proxy-Status: bearerd; error=x", "a dot": b"X.Odd: x", "a name of one letter": b"X: 1",
    "twice the same": b"X-Odd: a\r\nX-Odd: b",
}  # fmt: skip


def header_lines() -> Iterator[Case]:
    yield from _cases(BAD, {name: OK + line + b"\r\n" + TWO for name, line in _HEADERS_BAD.items()})
    yield from _cases(PASSES, {name: OK + line + b"\r\n" + TWO for name, line in _HEADERS_GOOD.items()}, body=b"{}")
    yield Case("line ends alone", (OK + b"X-Odd: x\r\n" + TWO).replace(b"\r\n", b"\n"), PASSES, body=b"{}")
    yield Case("carriage returns alone", (OK + b"X-Odd: x\r\n" + TWO).replace(b"\r\n", b"\r"), BAD)
    yield Case("a carriage return in a value", OK + b"X-Odd: a\rSet-Cookie: b=c\r\n" + TWO, BAD)
    yield Case("a length over two lines", OK + b"Content-Length:\r\n 2\r\n\r\n{}", PASSES)
    most = 128 - 1  # headers beside the length
    yield Case("as many headers as may be", OK + b"X-Odd: x\r\n" * most + TWO, PASSES, body=b"{}")
    yield Case("a header too many", OK + b"X-Odd: x\r\n" * (most + 1) + TWO, BAD)
    yield Case("2,000 headers", OK + b"X-Odd: x\r\n" * 2000 + TWO, BAD)
    yield Case("as large a head as may be", OK + _filled(32 * 1024) + TWO, PASSES, body=b"{}")
    yield Case("a byte too many", OK + _filled(32 * 1024 + 1) + TWO, BAD)
    yield Case("an endless line", OK + b"X-Odd: " + b"x" * 300_000, BAD)
    yield Case("an endless head", OK + b"".join(b"X-%d: x\r\n" % number for number in range(20_000)), BAD)
    yield Case("a head that ends in its middle", OK + b"X-Odd: x\r\nX-Mo", GONE)


def _filled(size: int) -> bytes:
    """Header lines that with those of `TWO` make a head of `size` bytes, as names, values and four bytes a line."""
    left = size - len("Content-Length: 2\r\n")
    lines = []
    while left:
        part = min(left, 8000) if left >= 8020 or left <= 8000 else 4000
        lines.append(b"X: " + b"x" * (part - 5) + b"\r\n")
        left -= part
    return b"".join(lines)


# -- how long the body is ---------------------------------------------------------------------------------------------

_LENGTHS_BAD = {
    "two that differ": b"Content-Length: 2\r\nContent-Length: 3",
    "two the same": b"Content-Length: 2\r\nContent-Length: 2", "a list": b"Content-Length: 2, 2",
    "a list that differs": b"Content-Length: 2,3", "a plus": b"Content-Length: +2", "a minus": b"Content-Length: -2",
    "hexadecimal": b"Content-Length: 0x2", "a fraction": b"Content-Length: 2.0",
    "an exponent": b"Content-Length: 2e0", "a semicolon": b"Content-Length: 2;", "letters": b"Content-Length: two",
    "nothing": b"Content-Length:", "a blank inside": b"Content-Length: 0 2",
    "2 to the 64th": b"Content-Length: " + b"%d" % 2**64,
    "a little more than that": b"Content-Length: " + b"%d" % (2**64 + 2),
    "40 digits": b"Content-Length: " + b"9" * 40, "an underscore": b"Content-Length: 1_0",
    "other digits": "Content-Length: ٢".encode(),
    "a length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 2",
}  # fmt: skip
_CODINGS_BAD = {
    "gzip": b"gzip", "gzip and chunked": b"gzip, chunked", "chunked and gzip": b"chunked, gzip",
    "identity": b"identity", "chunked and identity": b"chunked, identity", "chunked twice": b"chunked, chunked",
    "nearly chunked": b"xchunked", "chunked with a parameter": b"chunked;q=1", "a control byte": b"\x0bchunked",
    "chunked in quotes": b'"chunked"', "an empty one": b"", "chunked and nothing": b"chunked,",
    "a comma first": b", chunked", "two lines": b"chunked\r\nTransfer-Encoding: gzip",
    "two lines of chunked": b"chunked\r\nTransfer-Encoding: chunked", "NUL in it": b"ch\0nked",
}  # fmt: skip


def lengths() -> Iterator[Case]:
    chunks = b"2\r\n{}\r\n0\r\n\r\n"
    yield from _cases(BAD, {name: OK + line + b"\r\n\r\n{}" for name, line in _LENGTHS_BAD.items()})
    for name, coding in _CODINGS_BAD.items():
        yield Case(f"coding: {name}", OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + chunks, BAD)
    for name, coding in {"capitals": b"CHUNKED", "mixed": b"ChunKed", "blanks": b"  chunked  "}.items():
        yield Case(f"coding in {name}", OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + chunks, PASSES, body=b"{}")
    yield Case("leading zeros", OK + b"Content-Length: 0000000000000000000002\r\n\r\n{}", PASSES, body=b"{}")
    yield Case("blanks around", OK + b"Content-Length:   2  \r\n\r\n{}", PASSES, body=b"{}")
    yield Case("too short a length", OK + b"Content-Length: 2\r\n\r\n{}}}}}}", BAD)
    yield Case("too long a length", OK + b"Content-Length: 20\r\n\r\n{}", GONE)
    yield Case("too long a length of a large body", OK + b"Content-Length: 200000\r\n\r\n" + b"x" * 90_000, CUT)
    yield Case("2 to the 62nd", OK + b"Content-Length: %d\r\n\r\n{}" % 2**62, CUT)
    yield Case("a second answer", OK + TWO + SMUGGLED, PASSES, body=b"{}")
    yield Case("until the end, and a second answer", OK + b"\r\n" + SMUGGLED, PASSES, body=SMUGGLED)
    yield Case("chunks in 1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, PASSES, body=b"{}")


# -- chunks -----------------------------------------------------------------------------------------------------------

_CHUNKS_BAD = {
    "no hexadecimal": b"zz\r\n{}\r\n0\r\n\r\n", "0x": b"0x2\r\n{}\r\n0\r\n\r\n", "a minus": b"-2\r\n{}\r\n0\r\n\r\n",
    "a plus": b"+2\r\n{}\r\n0\r\n\r\n", "a leading blank": b" 2\r\n{}\r\n0\r\n\r\n",
    "no size": b"\r\n{}\r\n0\r\n\r\n", "an underscore": b"0_2\r\n{}\r\n0\r\n\r\n", "NUL": b"2\0\r\n{}\r\n0\r\n\r\n",
    "other digits": "٢\r\n{}\r\n0\r\n\r\n".encode(), "a size of 17 digits": b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a fraction": b"2.0\r\n{}\r\n0\r\n\r\n", "too much in a chunk": b"2\r\n{}}}}}\r\n0\r\n\r\n",
    "too little in a chunk": b"5\r\n{}\r\n0\r\n\r\n", "no line end after a chunk": b"2\r\n{}0\r\n\r\n",
    "a comma": b"2,2\r\n{}\r\n0\r\n\r\n", "a carriage return in the size": b"2\r\r\n{}\r\n0\r\n\r\n",
    "a length as a trailer": b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n",
}  # fmt: skip
_CHUNKS_CUT = {
    "a size of 16 digits": b"FFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n", "no last chunk": b"2\r\n{}\r\n",
    "the end in a chunk": b"20\r\n{}", "the end in a size": b"2\r\n{}\r\n2", "the end after a size": b"2",
    "nothing at all": b"", "no end after the last": b"2\r\n{}\r\n0\r\n",
}  # fmt: skip
_CHUNKS_PASS = {
    "leading zeros": b"0000000002\r\n{}\r\n0\r\n\r\n", "capitals": b"2\r\n{}\r\n00\r\n\r\n",
    "an extension": b"2;a=b\r\n{}\r\n0\r\n\r\n", "an extension in quotes": b'2;a="b;c"\r\n{}\r\n0\r\n\r\n',
    "an extension of the last": b"2\r\n{}\r\n0;x\r\n\r\n", "a trailer": b"2\r\n{}\r\n0\r\nX-Odd: x\r\n\r\n",
    "a cookie as a trailer": b"2\r\n{}\r\n0\r\nSet-Cookie: a=b\r\n\r\n",
    "an endless extension": b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a second answer": b"2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "a byte a chunk": b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
}  # fmt: skip


def chunks() -> Iterator[Case]:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from _cases(BAD, {name: head + rest for name, rest in _CHUNKS_BAD.items()})
    yield from _cases(CUT, {name: head + rest for name, rest in _CHUNKS_CUT.items()})
    yield from _cases(PASSES, {name: head + rest for name, rest in _CHUNKS_PASS.items()}, body=b"{}")


# -- before the answer, and answers without a body --------------------------------------------------------------------


def interim() -> Iterator[Case]:
    last = OK + TWO
    one = b"HTTP/1.1 100 Continue\r\n\r\n"
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\nSet-Cookie: a=b\r\n\r\n"
    large = b"HTTP/1.1 102 Processing\r\n" + b"X-Odd: %s\r\n" % (b"x" * 8000) * 3 + b"\r\n"
    yield from _cases(
        PASSES,
        {
            "100": one + last, "103 with a cookie": hints + last, "102": one.replace(b"100", b"102") + last,
            "199": one.replace(b"100", b"199") + last, "eight": one * 8 + last, "eight large ones": large * 8 + last,
        },
        body=b"{}",
    )  # fmt: skip
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    yield from _cases(
        BAD,
        {
            "nine": one * 9 + last, "ten thousand": one * 10_000 + last, "101": switch,
            "101 and frames": switch + b"\x81\x05hello", "101 to h2c": switch.replace(b"websocket", b"h2c") + b"\0\0",
            "101 without an Upgrade": b"HTTP/1.1 101 X\r\n\r\n" + last, "101 and an answer": switch + last,
        },
    )  # fmt: skip
    yield from _cases(GONE, {"100 and no more": one, "103 and no more": hints})


def bodiless() -> Iterator[Case]:
    for status in ("204", "304"):
        head = f"HTTP/1.1 {status} X\r\n".encode()
        passes = {
            "a length": b"Content-Length: 5\r\n\r\n",
            "a second answer": b"\r\n" + SMUGGLED,
            "chunks to come": _CHUNKED,
        }
        bad = {
            "a length and a body": b"Content-Length: 5\r\n\r\nhello", "chunks": _CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
            "a length of 0 and a body": b"Content-Length: 0\r\n\r\nhello",
        }  # fmt: skip
        yield from _cases(status, {f"{status} with {name}": head + rest for name, rest in passes.items()}, body=b"")
        yield from _cases(BAD, {f"{status} with {name}": head + rest for name, rest in bad.items()})
    yield Case("205 with a body", b"HTTP/1.1 205 X\r\n" + TWO, "205", body=b"{}")
    yield Case("a length of 0 and a body", OK + b"Content-Length: 0\r\n\r\nhello", BAD)
    heads = {
        "a body": b"Content-Length: 5\r\n\r\nhello", "chunks": _CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
        "a length and a second answer": b"Content-Length: 5\r\n\r\n" + SMUGGLED, "no length and a body": b"\r\nhello",
        "a second answer": b"\r\n" + SMUGGLED,
    }  # fmt: skip
    yield from _cases(BAD, {f"HEAD with {name}": OK + rest for name, rest in heads.items()}, method="HEAD")
    yield Case("HEAD with a length", OK + b"Content-Length: 5\r\n\r\n", PASSES, "HEAD", b"")


# -- headers that are for somebody else -------------------------------------------------------------------------------

FOREIGN = {
    "Set-Cookie": "a=b; Path=/", "Set-Cookie2": "a=b", "Alt-Svc": 'h3="evil.example:443"', "Clear-Site-Data": '"*"',
    "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Private-Network": "true", "Access-Control-Expose-Headers": "*",
    "access-control-allow-headers": "authorization", "ACCESS-CONTROL-MAX-AGE": "9", "Access-Control-Anything": "x",
    "WWW-Authenticate": 'Basic realm="x"', "Proxy-Authenticate": "Basic", "Strict-Transport-Security": "max-age=9",
    "Refresh": "0;url=https://evil.example/", "NEL": "{}", "Report-To": "{}", "Reporting-Endpoints": 'a="https://evil"',
    "Server": "IIS", "Via": "1.1 x", "Proxy-Status": "bearerd; error=x", "X-Content-Type-Options": "nope",
    "Keep-Alive": "timeout=9", "Upgrade": "h2c", "Trailer": "X-Odd", "Proxy-Connection": "close", "TE": "gzip",
    "Service-Worker-Allowed": "/", "Cross-Origin-Resource-Policy": "cross-origin", "Timing-Allow-Origin": "*",
    "Origin-Agent-Cluster": "?0", "Public-Key-Pins": "x", "Cross-Origin-Opener-Policy": "unsafe-none",
}  # fmt: skip


def foreign_headers() -> Iterator[Case]:
    for name, value in FOREIGN.items():
        yield Case(f"{name}", OK + f"{name}: {value}\r\n".encode() + TWO, PASSES, body=b"{}")
    for names in ("X-Odd", "Content-Length", "Content-Type, X-Request-Id", "keep-alive, Server, Via"):
        head = f"Connection: {names}\r\nX-Odd: x\r\nContent-Type: text/plain\r\n"
        yield Case(f"Connection names {names}", OK + head.encode() + TWO, PASSES, body=b"{}")


# -- packed bodies ----------------------------------------------------------------------------------------------------


def packed() -> Iterator[Case]:
    bomb = gzip.compress(b"\0" * 50_000_000, mtime=0)
    bodies = {
        "a bomb": ("gzip", bomb), "a bomb of two layers": ("gzip, gzip", gzip.compress(bomb, mtime=0)),
        "deflate": ("deflate", zlib.compress(b"{}")), "br": ("br", b"\x0b\x00\x80\x7b\x7d\x03"),
        "no coding": ("gzip", b"{}"), "a cut one": ("gzip", bomb[:-20]),
        "an unknown one": ("zstd", b"\x28\xb5\x2f\xfd"), "junk": ("\x7f", b"{}"), "an empty one": ("gzip", b""),
        "a list": ("identity, gzip, identity", bomb[:100]),
    }  # fmt: skip
    for name, (coding, body) in bodies.items():
        head = f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        yield Case(name, OK + head + body, PASSES, body=body)
    for name, status in (("a packed 401", b"401"), ("a packed 500", b"500")):
        head = b"HTTP/1.1 %s X\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (status, len(bomb))
        yield Case(name, head + bomb, status.decode(), body=bomb)


# -- redirects --------------------------------------------------------------------------------------------------------


def locations(sinkhole: str, own: str) -> dict[str, str]:
    """Where a redirect may want to lead. `sinkhole` and `own`, the broker, are hosts with their ports."""
    return {
        "another host": f"https://{sinkhole}/x", "plain http": f"http://{sinkhole}/x",
        "ours in the clear": f"http://{own}/x", "no scheme": f"//{sinkhole}/x", "three slashes": f"///{sinkhole}/x",
        "a backslash": f"/\\{sinkhole}/x", "two backslashes": f"\\\\{sinkhole}/x", "both slashes": f"\\/{sinkhole}/x",
        "one slash": f"https:/{sinkhole}/x", "no slash": f"https:{sinkhole}/x",
        "another scheme": f"ftp://{sinkhole}/x", "a script": "javascript:alert(1)",
        "data": "data:text/html,<script>1</script>", "a file": "file:///etc/passwd",
        "userinfo": f"https://a:b@{sinkhole}/x", "ours as userinfo": f"https://{own}@{sinkhole}/x",
        "ours as a user": f"https://{own.partition(':')[0]}:@{sinkhole}/", "a longer port": f"https://{own}0/x",
        "ours as a beginning": f"https://{own}.evil.example/x", "capitals": f"HTTPS://{sinkhole}/x",
        "a blank first": f" //{sinkhole}/x", "a tab inside": f"/\t/{sinkhole}/x",
        "two slashes after ours": f"https://{own}//{sinkhole}/x",
        "a backslash after ours": f"https://{own}\\{sinkhole}/x", "a question mark": f"https://{own}?@{sinkhole}/",
        "a fragment": f"https://{own}#@{sinkhole}/", "up and away": "/../other/v1/orders",
        "up in between": "/v1/../../other/v1/orders", "up, encoded": "/%2e%2e/other",
        "up, half encoded": "/.%2E/other", "up by a backslash": "/..\\other", "up at the end": "/v1/..",
        "only up": "..", "a backslash in it": "/v1\\..\\..\\other", "relative": "accounts", "empty": "",
        "a dot": "/./v1/x", "a backslash and a slash": f"/v1/\\/{sinkhole}",
        "an encoded slash first": f"/%2f{sinkhole}/x", "an encoded backslash": f"/%5c{sinkhole}/x",
    }  # fmt: skip


def redirects(sinkhole: str, own: str) -> Iterator[Case]:
    statuses = (301, 302, 303, 307, 308, 300, 305)
    for number, (name, location) in enumerate(locations(sinkhole, own).items()):
        status = statuses[number % len(statuses)]
        head = f"HTTP/1.1 {status} X\r\nLocation: {location}\r\n".encode()
        yield Case(name, head + TWO, str(status), body=b"{}")
    two = f"Location: /v1/x\r\nLocation: https://{sinkhole}/\r\nContent-Location: https://{sinkhole}/\r\n".encode()
    yield Case("two of them", b"HTTP/1.1 302 X\r\n" + two + TWO, "302", body=b"{}")
