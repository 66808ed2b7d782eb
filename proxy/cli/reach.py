"""What `bearerd doctor` looks at on the network: the hosts that the mounts lead to, and what time it is there.

Names, connections and TLS go the way of calls: the same resolver, trust, private hosts and `egress_proxy`. Nothing of
an account is sent: to an API's host not a byte of HTTP, to a token endpoint's `HEAD /`, for the answer's `Date`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

from proxy.brokers import Origin
from proxy.cli.examine import Finding
from proxy.cli.output import BAD, GOOD, NOTE
from proxy.clock import SystemClock
from proxy.outbound import NotSent
from proxy.relay.pool.dialling import Cuttable, Dialling, Route
from proxy.settings import Settings
from proxy.tokens.skew import ADVICE, APART

PATIENCE = 15.0  # seconds for one host, a proxy on the way included
_LARGEST = 32 * 1024  # bytes of a head that are read
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Host:
    """Where to, and for whom; `asks`: whether it may be asked the time."""

    route: Route
    mounts: tuple[str, ...]
    asks: bool


class Knock(Cuttable):
    """Connects, asks for the time if it is to, and hangs up. `told` is the answer's head, empty if there is none."""

    def __init__(self, authority: str, loop: asyncio.AbstractEventLoop, *, asks: bool) -> None:
        self._authority, self._asks = authority, asks
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self.told: asyncio.Future[bytes] = loop.create_future()

    @property
    def alive(self) -> bool:
        """See `Cuttable`."""
        return self._transport is not None and not self.told.done()

    def abort(self) -> None:
        """See `Cuttable`."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is there, and the other end is who it should be."""
        self._transport = cast("asyncio.Transport", transport)  # on uvloop it is none by name
        if self._asks:
            head = f"HEAD / HTTP/1.1\r\nHost: {self._authority}\r\nConnection: close\r\n\r\n"
            self._transport.write(head.encode("ascii"))
        else:
            self._end()

    def data_received(self, data: bytes) -> None:
        """Some of the answer."""
        self._got += data
        if b"\r\n\r\n" in self._got or len(self._got) > _LARGEST:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever came is all."""
        del exc
        self._end()

    def _end(self) -> None:
        if not self.told.done():
            self.told.set_result(self._got.partition(b"\r\n\r\n")[0])
        if self._transport is not None:
            self._transport.close()


def hosts(settings: Settings, known: Mapping[str, str]) -> list[Host]:
    """Token endpoints and APIs of all mounts, each once.

    `known`: mount → the host that its last token came with, for brokers that do it so; a running server knows them.
    """
    found: dict[Route, tuple[list[str], bool]] = {}
    config = settings.config
    for name in config.mounts:
        grant = settings.grants[config.grant_of(name)]
        environment = grant.environment
        fixed = settings.origin_of(name)
        places = [(fixed or (_origin(f"https://{known[name]}") if known.get(name) else None), False)]
        places += [(_origin(url), True) for url in (grant.endpoints.token_url, grant.endpoints.refresh_url) if url]
        for origin, asks in places:
            if origin is None:
                continue
            route = Route(origin, environment.ca_file, frozenset(environment.private_hosts), config.egress_proxy)
            mounts, asked = found.setdefault(route, ([], False))
            if name not in mounts:
                mounts.append(name)
            found[route] = mounts, asked or asks
    return [Host(route, tuple(mounts), asks) for route, (mounts, asks) in found.items()]


def _origin(url: str) -> Origin:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return Origin(f"[{host}]" if ":" in host else host, parts.port or _HTTPS)


async def all_of(settings: Settings, status: Mapping[str, Any] | None, patience: float = PATIENCE) -> list[Finding]:
    """One finding a host, and one for its clock. All hosts are asked at once. `status`: a running server's."""
    dialling = Dialling(asyncio.get_running_loop())
    known = {mount["name"]: mount["api_host"] for mount in status["mounts"]} if status is not None else {}
    found = await asyncio.gather(*(_look(dialling, host, patience) for host in hosts(settings, known)))
    return [finding for each in found for finding in each]


async def _look(dialling: Dialling, host: Host, patience: float) -> list[Finding]:
    what = f"host {host.route.origin}"
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(patience):
            knock = await dialling.dial(host.route, lambda: Knock(str(host.route.origin), loop, asks=host.asks))
    except NotSent as error:
        return [Finding(what, BAD, f"{error} (mounts: {', '.join(host.mounts)})", _remedy(str(error), host))]
    except TimeoutError:
        return [Finding(what, BAD, f"no answer within {patience:g} s (mounts: {', '.join(host.mounts)})")]
    took = loop.time() - began
    way = " through the egress proxy" if host.route.egress else ""
    found = [Finding(what, GOOD, f"TLS{way} in {took * 1000:.0f} ms (mounts: {', '.join(host.mounts)})")]
    return [*found, *_clock(host, await _head(knock, patience))] if host.asks else found


async def _head(knock: Knock, patience: float) -> bytes:
    """What was answered; nothing, if that takes too long."""
    try:
        async with asyncio.timeout(patience):
            return await knock.told
    except TimeoutError:
        return b""
    finally:
        knock.abort()


def _clock(host: Host, head: bytes) -> list[Finding]:
    what = f"clock against {host.route.origin}"
    dates = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"date:")]
    try:
        theirs = parsedate_to_datetime(dates[0].strip().decode("ascii")).timestamp()
    except (IndexError, ValueError):
        return [Finding(what, NOTE, "it does not say what time it is")]
    apart = SystemClock().now().wall - theirs
    if abs(apart) <= APART:
        return [Finding(what, GOOD, "they agree to a minute")]
    way = "ahead of" if apart > 0 else "behind"
    return [Finding(what, BAD, f"this machine's clock is {abs(apart):.0f} s {way} the broker's", ADVICE)]


def _remedy(reason: str, host: Host) -> str:
    name = host.route.origin.host
    if "certificate" in reason:
        return "a proxy that opens TLS needs its authority as `ca_file` of the environment; else this is not the broker"
    if "egress proxy" in reason:
        return "let `egress_proxy` connect to it, or remove the key"
    if "resolved" in reason:
        return f"`getent hosts {name}` should print a public address; a private one needs `private_hosts`"
    return "a firewall may be in the way; where only a proxy gets out, set `egress_proxy`"
