"""One post to one webhook, over real sockets: what comes back, and what an ill-behaved receiver can do."""

import asyncio
import gc
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.alerts import signing
from proxy.alerts.notice import Answer
from proxy.alerts.webhook import LARGEST, Names, judged, post
from proxy.secret import Secret
from proxy.simulator import ca
from tests.alerts.receivers import OK, receiving, status, webhook

SIGNED = signing.headers(b"k" * 32, "msg_1", 1_800_000_000, b"{}")


async def posted(way: Any, timeout: float = 5.0, names: Names | None = None) -> Answer:  # noqa: ASYNC109
    return await post(way, b"{}", SIGNED, timeout, names or Names())


async def test_a_post_is_whole_and_signed() -> None:
    """Target byte for byte, JSON, three headers of the signature, and nothing that we did not say."""
    async with receiving() as receiver:
        answer = await posted(webhook(receiver.host))
        (request,) = receiver.received
    assert (True, "204 No Content") == (answer.ok, answer.said)
    assert "POST /hook?team=a%2Fb HTTP/1.1" == request.line
    assert (b"{}", SIGNED) == (request.body, {name: request.headers[name] for name in SIGNED})
    ours = {"host", "content-type", "user-agent", "accept-encoding", "content-length"}
    assert {*ours, *SIGNED, "connection"} == set(request.headers) - {"accept"}


@pytest.mark.parametrize(
    ("answer", "said", "again", "wait"),
    [
        (status("500 Internal Server Error", body=b"oh"), "500 Internal Server Error", True, 0.0),
        (status("429 Too Many Requests", "Retry-After: 7"), "429 Too Many Requests", True, 7.0),
        (status("503 Service Unavailable", "Retry-After: soon"), "503 Service Unavailable", True, 0.0),
        (status("410 Gone"), "410 Gone", False, 0.0),
        (status("799 Odd"), "799", True, 0.0),
        (b"HTTP/1.1 000 \r\n\r\n", "0", True, 0.0),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", "the answer is no valid HTTP", True, 0.0),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", "the answer is no valid HTTP", True, 0.0),
        (None, "the connection was lost before an answer came", True, 0.0),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 40, "the answer is no valid HTTP", True, 0.0),
    ],
    ids=["500", "429", "503", "410", "799", "000", "tls", "huge head", "closed", "interim"],
)
async def test_what_is_no_success_is_told_in_a_few_words(
    answer: bytes | None, said: str, again: bool, wait: float
) -> None:
    """Nothing that the receiver has written gets into these words."""
    async with receiving(answer) as receiver:
        found = await posted(webhook(receiver.host))
    assert (False, said, again, wait) == (found.ok, found.said, found.again, found.retry_after)


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_not_followed(code: str) -> None:
    """The place that it names gets nothing."""
    async with receiving() as other, receiving(status(code, f"Location: http://{other.host}/")) as receiver:
        found = await posted(webhook(receiver.host))
        assert ([], 1) == (other.received, len(receiver.received))
    assert not found.ok
    assert found.said.endswith(", and redirects are not followed")


async def test_a_huge_or_endless_answer_costs_little() -> None:
    """Its status counts; of a gigabyte that it announces at most 4 KiB are taken, of one that does not come nothing."""
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n" + b"x" * 300_000
    async with receiving(huge, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhang") as receiver:
        first = await posted(webhook(receiver.host))
        second = await posted(webhook(receiver.host))
    assert (True, LARGEST) == (first.ok, len(first.output))
    assert (True, "hang") == (second.ok, second.output)
    assert second.seconds < 2


async def test_a_receiver_that_hangs_is_left_in_time() -> None:
    """At connect, or after the request."""
    async with receiving(b"") as receiver:
        found = await posted(webhook(receiver.host), 0.2)
    assert (False, "no answer within 0.2 s") == (found.ok, found.said)
    assert found.seconds < 1


async def test_nobody_there(unused_tcp_port_factory: Callable[[], int]) -> None:
    """Said in our words, and at once."""
    found = await posted(webhook(f"127.0.0.1:{unused_tcp_port_factory()}"))
    assert (False, "the connection was refused or could not be made") == (found.ok, found.said)


async def test_a_unix_socket_takes_posts(state_dir: Path) -> None:
    """The address says the path, the socket where; without one it is told."""
    path = state_dir / "in.sock"
    async with receiving(OK, path=path) as receiver:
        assert (await posted(webhook("localhost", socket=str(path)))).ok
        assert "POST /hook?team=a%2Fb HTTP/1.1" == receiver.received[0].line
    found = await posted(webhook("localhost", socket=str(state_dir / "none.sock")))
    assert (False, "the connection was refused or could not be made") == (found.ok, found.said)


async def test_an_unknown_authority_is_refused_and_a_named_one_is_not(authority: ca.Authority, state_dir: Path) -> None:
    """TLS is verified; `ca_file` adds trust; a file that is none is told."""
    server = await asyncio.start_server(_ok, "127.0.0.1", 0, ssl=authority.tls)
    port = server.sockets[0].getsockname()[1]
    way = replace(webhook("127.0.0.1:1"), url=Secret(f"https://127.0.0.1:{port}/"))
    found = [await posted(replace(way, ca_file=file)) for file in (None, str(authority.ca_file), str(state_dir / "x"))]
    server.close()
    assert ["the TLS certificate is not trusted", "204 No Content", "the ca_file cannot be read"] == [
        each.said for each in found
    ]


async def _ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"{}")
    writer.write(OK)
    await writer.drain()
    writer.close()


async def test_a_name_server_that_hangs_holds_no_thread_that_others_need() -> None:
    """Four look-ups hang, further ones fail at once, the loop's own threads are free, and nothing waits for them."""
    hanging = threading.Event()

    def lookup(*_: Any, **__: Any) -> list[Any]:
        hanging.wait(5)
        return []

    names = Names(lookup)
    ways = [webhook(f"alerts-{number}.invalid:80") for number in range(6)]
    async with asyncio.timeout(2):
        found = await asyncio.gather(*(posted(way, 0.3, names) for way in ways), asyncio.to_thread(int))
    said = sorted(each.said for each in found if isinstance(each, Answer))
    assert ["no answer within 0.3 s"] * 4 == said[:4]
    assert 2 == sum("could not be resolved" in each for each in said)
    hanging.set()
    gc.collect()


async def test_a_name_leads_to_a_private_address_if_the_operator_says_so() -> None:
    """Unlike a broker's: alert receivers live in the same network more often than not."""
    async with receiving() as receiver:
        port = int(receiver.host.partition(":")[2])

        def lookup(_host: str, port: int, **_: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        assert (await posted(webhook(f"alerts.internal:{port}"), names=Names(lookup))).ok
        assert f"alerts.internal:{port}" == receiver.received[0].headers["host"]


def test_only_two_hundreds_are_a_success() -> None:
    """All others are none."""
    assert list(range(200, 300)) == [code for code in range(100, 1000) if judged(code, "", b"").ok]
