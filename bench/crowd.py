"""Clients that keep a connection and say nothing: plain sockets, so that ten thousand of them cost little here."""

import contextlib
import resource
import socket
import statistics
import time
from collections.abc import Iterator

from bench.load import Way
from bench.processes import Missing
from bench.upstream import TARGET

_SPARE = 200  # files of this process beside the connections


def _head(way: Way, target: str) -> bytes:
    return "\r\n".join((f"GET {way.prefix}{target} HTTP/1.1", f"Host: {way.host}", *way.headers, "", "")).encode()


class Kept:
    """One kept connection."""

    def __init__(self, way: Way, target: str = TARGET) -> None:
        host, _, port = way.host.partition(":")
        self._wire = socket.create_connection((host, int(port)), 20)
        self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = _head(way, target)

    def call(self) -> None:
        """One call to its end. Missing unless it is a short one with 200."""
        self._wire.sendall(self._head)
        got = b""
        while b"\r\n\r\n" not in got or len(got) < _whole(got):
            more = self._wire.recv(65536)
            if not more:
                raise Missing("an idle connection was closed")
            got += more
        if not got.startswith(b"HTTP/1.1 200 "):
            raise Missing(f"it answers {got[:40]!r}")

    def median(self, seconds: float) -> float:
        """Seconds of the median call, one after the other."""
        took = []
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            self.call()
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    def close(self) -> None:
        self._wire.close()


def _whole(got: bytes) -> int:
    """How long an answer is, head and body; Missing without a length."""
    head, _, _ = got.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    raise Missing("an answer has no length")


@contextlib.contextmanager
def idle(way: Way, count: int, target: str = TARGET) -> Iterator[list[Kept]]:
    """So many connections, each of which has had one answer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + _SPARE:
        raise Missing(f"{count} connections need {count + _SPARE} files, and this process may open {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd: list[Kept] = []
    try:
        for _ in range(count):
            crowd.append(Kept(way, target))
            crowd[-1].call()
        yield crowd
    finally:
        for each in crowd:
            each.close()
