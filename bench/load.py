"""The load: wrk over kept connections, and a client of ours that opens a new connection for each call."""

import json
import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bench.machine import pinned
from bench.processes import Missing, program
from bench.upstream import TARGET

How = Literal["same", "each", "page"]
EACH = "/v1/accounts/VA000001/orders/NUMBER"
_FAULTS = ("connect", "write", "status", "late", "cut")  # connections, requests, not 2xx or 3xx, beyond 2 s, broken off
_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Way:
    """How a client reaches the broker's API: `url` with what stands before the broker's path, and header lines.

    `ca_file`: to trust, where the address is https. `closes`: each connection ends after one answer, unannounced, which
    wrk takes for a fault.
    """

    url: str
    headers: tuple[str, ...] = ()
    ca_file: Path | None = None
    closes: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        return urlsplit(self.url).path


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk found. `seconds` is its length; `p50` and `p99` are seconds of one call."""

    requests: int
    seconds: float
    p50: float
    p99: float


def wrk() -> str:
    """The program. Missing without one."""
    return program("wrk", "wrk")


def kept(way: Way, *, core: int, clients: int, seconds: float, how: How = "same") -> Load:
    """So many keep-alive connections that ask one call after the other. Missing if a single answer is not a good one.

    `how`: the same call each time, another target each time, or the same with the 2 kB of headers that a browser sends.
    """
    parts = urlsplit(way.url)
    path = parts.path + (EACH if how == "each" else TARGET)
    command = [
        wrk(), "-t1", f"-c{clients}", f"-d{_duration(seconds)}", "-s", str(_SCRIPT), f"{parts.scheme}://{parts.netloc}/",
        "--", how, path, *way.headers,
    ]  # fmt: skip
    with pinned(core):
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise Missing(f"wrk: exit code {done.returncode}")
    found = json.loads(lines[-1])
    wrong = {kind: found[kind] for kind in _FAULTS if found[kind] and not (kind == "cut" and way.closes)}
    if wrong or not found["requests"]:
        raise Missing(f"of {found['requests']} calls failed: {wrong}")
    return Load(found["requests"], found["seconds"], found["p50"] / 1e6, found["p99"] / 1e6)


def _duration(seconds: float) -> str:
    """As wrk takes it: whole seconds."""
    return f"{max(1, round(seconds))}s"


class Caller:
    """A client that keeps nothing: a new connection for each call, and with TLS a whole handshake.

    As curl does, it asks as if it would keep the connection, and then closes it. It does as little as it can: what it
    does counts for every proxy alike.
    """

    def __init__(self, way: Way, target: str = TARGET) -> None:
        host, _, port = way.host.partition(":")
        self._address = (host, int(port))
        self._trust = None if way.ca_file is None else ssl.create_default_context(cafile=str(way.ca_file))
        lines = (f"GET {way.prefix}{target} HTTP/1.1", f"Host: {way.host}", "Accept: */*", *way.headers)
        self._head = "\r\n".join((*lines, "", "")).encode()

    def call(self) -> bytes:
        """The body of the answer. Missing unless it is 200."""
        with socket.socket() as plain:
            plain.settimeout(20)
            plain.connect(self._address)
            if self._trust is None:
                return _answer(plain, self._head)
            with self._trust.wrap_socket(plain, server_hostname=self._address[0]) as sealed:
                return _answer(sealed, self._head)

    def median(self, seconds: float, *, core: int) -> float:
        """Seconds of the median call, from before the connection to after the last byte."""
        took = []
        with pinned(core):
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                self.call()
                took.append(time.perf_counter() - began)
        return statistics.median(took)


def _answer(wire: socket.socket, head: bytes) -> bytes:
    """The body, which ends with its declared length, or with the connection."""
    wire.sendall(head)
    got = wire.recv(65536)
    while more := b"" if _whole(got) else wire.recv(65536):
        got += more
    found, _, body = got.partition(b"\r\n\r\n")
    if found[8:13] != b" 200 ":
        line = found.partition(b"\r\n")[0][:80].decode("latin-1")
        raise Missing(f"it answers {line!r}")
    return body


def _whole(got: bytes) -> bool:
    head, found, body = got.partition(b"\r\n\r\n")
    length = _length(head.split(b"\r\n")) if found else None
    return length is not None and len(body) >= length


def _length(lines: Sequence[bytes]) -> int | None:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None


def drained(way: Way, target: str, *, core: int) -> int:
    """Bytes of a long answer's body that were read and thrown away. Missing unless it is 200 and says its length."""
    host, _, port = way.host.partition(":")
    head = "\r\n".join(
        (f"GET {way.prefix}{target} HTTP/1.1", f"Host: {way.host}", *way.headers, "Connection: close", "", "")
    )
    buffer = bytearray(1 << 20)
    with pinned(core), socket.create_connection((host, int(port)), 60) as wire:
        wire.sendall(head.encode())
        got = b""
        while b"\r\n\r\n" not in got and (more := wire.recv(65536)):
            got += more
        found, _, body = got.partition(b"\r\n\r\n")
        length = _length(found.split(b"\r\n"))
        if b" 200 " not in got[:16] or length is None:
            raise Missing(f"a long answer begins {got[:40]!r}")
        count = len(body)
        while count < length and (size := wire.recv_into(buffer)):
            count += size
    return count
