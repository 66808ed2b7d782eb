"""Where a broker's name leads: asked of the system, and never to a private address that nobody has declared."""

import asyncio
import socket
from collections.abc import Set as AbstractSet
from typing import Any, cast

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from proxy.brokers.origin import is_private


class _Names:
    """Asks the system in a thread of ours. uvloop would use its own: four, for all that the process looks up."""

    async def getaddrinfo(self, host: str, port: int, **about: int) -> list[Any]:
        return await asyncio.to_thread(socket.getaddrinfo, host, port, **about)

    async def getnameinfo(self, address: Any, flags: int = 0) -> tuple[str, str]:
        return await asyncio.to_thread(socket.getnameinfo, address, flags)


class PublicResolver(AbstractResolver):
    """Resolves names and refuses private addresses: a poisoned answer must not aim a bearer at the local network.

    `localhost`, which only a definition can have named, and the names in `private_hosts` may lead there. Addresses that
    are written out never come here. `names` asks the system, in place of the loop's threads.
    """

    def __init__(self, private_hosts: AbstractSet[str] = frozenset(), names: object | None = None) -> None:
        self._system = ThreadedResolver(cast("asyncio.AbstractEventLoop", names or _Names()))
        self._private_hosts = private_hosts | {"localhost"}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        public = host not in self._private_hosts
        if public and any(is_private(result["host"].partition("%")[0]) for result in found):
            raise OSError(None, "the name leads to a private address")
        return found

    async def close(self) -> None:
        await self._system.close()
