"""A socket that is dialled at an echo broker, without anything else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from proxy.brokers import HostPattern, Origin
from proxy.clock import Now
from proxy.relay.dialling import Dialler, Handshake
from proxy.relay.upstream import Place
from proxy.relay.websocket import BrokerSocket
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from tests.lab import CA_FILE
from tests.streams.echo import Behaviour, EchoBroker, broker, echo

PLACE = Place("g", (HostPattern.parse("127.0.0.1:*"),), CA_FILE, total=2, idle=2)
TOKEN = "the-bearer-of-this-socket"


def pair_for(port: int) -> TokenPair:
    return TokenPair(1, Secret(TOKEN), Origin("127.0.0.1", port), Now(9e9, 9e9), 1800)


@asynccontextmanager
async def dialled(
    behaviour: Behaviour = echo, *, place: Place = PLACE, **fields: Any
) -> AsyncIterator[tuple[BrokerSocket, EchoBroker]]:
    """A socket at an echo broker."""
    async with broker(behaviour, autoping=False) as found:
        dialler = Dialler()
        handshake = Handshake(b"/v1/a%2Fb?x=%3A&y", [("User-Agent", "b/1")], **fields)
        try:
            socket = await dialler.dial(handshake, pair_for(found.port), place)
            yield socket, found
            socket.drop()
        finally:
            await dialler.close()
