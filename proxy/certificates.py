"""Certificates of our own listeners: in force, read again when files change, and made anew where that is our part.

A connection keeps the certificate that it began with. What is put in force is a whole: a context that has been built
without a fault. As long as new files are at fault, or only half there, the old ones stay in force.
"""

import asyncio
import ipaddress
import math
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from proxy import expiry, localca, logs, trustfiles
from proxy.clock import Clock
from proxy.config import Config, Tcp, Tls
from proxy.inforce import InForce, Local, Stamps, Unfit, load, stamps_of
from proxy.spans import ago, span
from proxy.store import UnsafeFile

LOOK = 1.0  # seconds between two looks at the files
RETRY = 600.0  # seconds until a certificate that could not be made is tried again

log = logs.get("tls")


class Certificates:
    """The certificate in force, for every listener that speaks TLS. Made by `opened`."""

    def __init__(self, settings: Tls, local: Local, in_force: InForce, clock: Clock) -> None:
        self._settings = settings
        self._local = local
        self._in_force = in_force
        self._clock = clock
        self._seen = in_force.stamps
        self._failed: Stamps | None = None
        self._fault = ""
        self._retry = -math.inf

    @classmethod
    async def opened(cls, config: Config, clock: Clock) -> "Certificates":
        """Read the files that `config.tls` names. `ConfigInvalid` if one cannot be used.

        One that is past its end is served all the same, and complained of: without a server tokens are lost, too.
        """
        made = cls(config.tls, Local.of(config), await _read(config, clock, expired=True), clock)
        await asyncio.to_thread(made._publish)
        return made

    def context(self, *, pages: bool = False) -> ssl.SSLContext:
        """For the next connection of a client, or of a browser that wants the console's pages."""
        return self._in_force.for_pages if pages else self._in_force.context

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses that the certificate is for."""
        return self._in_force.hosts

    @property
    def ends(self) -> float:
        """When the certificate expires, in Unix time."""
        return self._in_force.ends

    def names(self, port: int) -> tuple[str, ...]:
        """`NAME:PORT` of all that the certificate is for: whoever calls that name means us."""
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in self._in_force.hosts)

    def place(self, address: Tcp) -> str:
        """The authority under which clients that check the certificate reach `address`."""
        return place(address, self._in_force.hosts)

    async def read(self, config: Config) -> InForce:
        """What the files of `config.tls` hold now, for `take`. `ConfigInvalid` if it cannot be used.

        Or if it has expired, unless what is in force has so too: a reload for another reason must not fail for that.
        """
        return await _read(config, self._clock, expired=self._over())

    def take(self, settings: Tls, in_force: InForce) -> None:
        """Put it in force."""
        self._settings, self._in_force, self._fault = settings, in_force, ""
        self._seen = in_force.stamps
        self._local = in_force.local or self._local

    async def run(self, changed: Callable[[], None]) -> None:
        """Look after the files for as long as the server runs; `changed` is told when something new is in force."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                if await self.look():
                    changed()
            except Exception as error:  # noqa: BLE001  whatever it is, the next renewal must not be missed
                log.error("the certificate's files could not be looked at", error=type(error).__name__)

    async def look(self) -> bool:
        """If the files have changed, put them in force, and say so. A fault is logged, and told by `warnings`."""
        stamps = await asyncio.to_thread(stamps_of, self._settings, self._local)
        if stamps != self._seen:
            self._seen = stamps  # somebody is writing; the next look finds what has come of it
            return False
        now, boot = self._clock.now().wall, self._clock.now().boot
        # Before its beginning, too: some machines start with a clock that is ahead.
        due = boot >= self._retry and not self._in_force.fresh[0] <= now < self._in_force.fresh[1]
        if stamps == self._in_force.stamps and not due:
            self._fault = self._fault if stamps == self._failed else ""
            return False
        if stamps == self._failed and not due:
            return False
        try:
            work = partial(load, self._settings, now, expired=self._over(), local=self._local)
            self._in_force = await asyncio.to_thread(work)
        except Unfit as unfit:
            log.error("there is no new certificate; the old one stays", reason=str(unfit))
            self._fault, self._failed, self._retry = str(unfit), stamps, boot + RETRY
            return False
        self._seen, self._fault, self._failed = self._in_force.stamps, "", None
        await asyncio.to_thread(self._publish)
        log.info("a new certificate is in force", ends=round(self._in_force.ends))
        return True

    def _publish(self) -> None:
        """For clients of the local authority: the files that they are pointed at, up to date. Blocks."""
        if self._settings.local_ca:
            try:
                trustfiles.publish(self._local.file.parent, localca.read(self._local.file).pem)
            except (localca.NoAuthority, UnsafeFile, OSError) as error:
                log.warning("what clients need to trust the local CA could not be written", reason=str(error))

    def _over(self) -> bool:
        """Whether what is in force is past its end, or before its beginning."""
        return not self._in_force.begins <= self._clock.now().wall < self._in_force.ends

    def ending(self) -> float | None:
        """When our certificate or its local CA expires (Unix time), if that is so near that a person is to be told."""
        found, now = self._in_force, self._clock.now().wall
        soon = now >= expiry.told_from(found.begins, found.ends) or now >= found.local_ends - expiry.EARLY
        return min(found.ends, found.local_ends) if soon else None

    def warnings(self) -> list[str]:
        """What a person should know of the certificates."""
        now, found = self._clock.now().wall, []
        in_force, file = self._in_force, self._settings.certificate_file or "of the local CA"
        if self._fault:
            made = self._settings.local_ca
            what = "no new certificate can be made" if made else "the certificate's files have changed and are not used"
            found.append(f"{what}: {self._fault}")
        if now >= in_force.ends:
            found.append(f"the certificate {file} expired {ago(in_force.ends, now)}: clients that check it do not call")
        elif now < in_force.begins:
            found.append(f"the certificate {file} is not valid before {span(in_force.begins - now)} from now")
        elif now >= in_force.local_ends - expiry.EARLY:
            found.append(f"the local CA expires in {span(in_force.local_ends - now)}: {localca.MAKE_ANOTHER}")
        elif now >= expiry.told_from(in_force.begins, in_force.ends):
            found.append(f"the certificate {file} expires in {span(in_force.ends - now)}: replace the file in time")
        if in_force.lacks:
            names = ", ".join(in_force.lacks)
            found.append(f"the local CA was made without {names}; to be called so, {localca.MAKE_ANOTHER}")
        if in_force.authority_ends is not None and now >= in_force.authority_ends - expiry.EARLY:
            when = "has expired" if now >= in_force.authority_ends else "expires soon"
            found.append(f"an authority in {self._settings.client_ca_file} {when}: clients' certificates end with it")
        return found


async def _read(config: Config, clock: Clock, *, expired: bool) -> InForce:
    now, local = clock.now().wall, Local.of(config)
    try:
        return await asyncio.to_thread(partial(load, config.tls, now, expired=expired, local=local))
    except Unfit as unfit:
        raise config.invalid(config.problem(("tls", unfit.key), unfit.message, unfit.fix)) from None


def place(address: Tcp, hosts: Sequence[str]) -> str:
    """`HOST:PORT` of `address` in the words of a certificate that is for `hosts`, if it has any for it."""
    own = ("::1" if ":" in address.host else "127.0.0.1") if address.everywhere else address.host
    here = address.loopback or address.everywhere
    named = [host for host in hosts if not _is_ip(host) and (here or host != "localhost")]
    if own in hosts or not named:
        return str(Tcp(own, address.port))
    return f"{'localhost' if 'localhost' in named else named[0]}:{address.port}"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def shown_names(transport: asyncio.Transport | None) -> frozenset[str]:
    """The common and DNS names of the certificate that a client has shown, in lower case; none if it has shown none."""
    found: dict[str, Any] = (transport.get_extra_info("peercert") if transport is not None else None) or {}
    common = [value for part in found.get("subject", ()) for name, value in part if name == "commonName"]
    more = [value for kind, value in found.get("subjectAltName", ()) if kind == "DNS"]
    return frozenset(name.lower() for name in (*common, *more))
