"""Requests that two servers could cut at different places: none brings the broker one call more than was meant.

Every line of the corpus is sent, byte for byte, on a connection of its own; a scripted broker counts what arrives.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests import tricks
from tests.lab import Lab, running
from tests.wire import Reply, Wire

MEANT = {"refused": (0, 0), "first": (0, 1), "one": (1, 1), "two": (2, 2)}
SILENCE = 0.5  # seconds without an answer, after which none is waited for
SENT = {
    "host", "authorization", "accept", "accept-encoding", "content-type", "content-length", "transfer-encoding",
    "user-agent", "via", "x-request-id", "connection",
}  # fmt: skip
PATIENCE = 20.0  # the same for an answer that must come
LEAST = 76


@dataclass(frozen=True)
class Attack:
    """One line of the corpus; from `least` to `most` calls may reach the broker."""

    number: int
    family: str
    least: int
    most: int
    text: str

    def bytes(self, lab: Lab) -> bytes:
        head = f"Host: {lab.host}\r\nX-Api-Key: {lab.key}\r\n"
        path = f"/lab/v1/accounts?n={self.number}&"
        known = {"host": lab.host, "key": lab.key, "head": head, "path": path, "line": f"GET {path} HTTP/1.1\r\n"}
        known |= {"next": f"GET {path}next HTTP/1.1\r\n{head}\r\n"}
        for name, line in (
            ("get", "GET /lab/v1/accounts"), ("post", "POST /lab/v1/orders"), ("put", "PUT /lab/v1/orders/7"),
            ("delete", "DELETE /lab/v1/orders/7"), ("upload", "POST /lab/v1/upload"),
        ):  # fmt: skip
            known[name] = f"{line}?n={self.number}& HTTP/1.1\r\n{head}"
        return tricks.Trick(self.family, self.text).filled(**known).encode("latin-1")


def _attack(number: int, trick: tricks.Trick) -> Attack:
    meant, _, text = trick.text.partition("\t")
    return Attack(number, trick.family, *MEANT[meant], text)


ATTACKS = tuple(_attack(number, trick) for number, trick in enumerate(tricks.read("framing")))
FAMILIES = tuple(dict.fromkeys(attack.family for attack in ATTACKS))


async def answers(wire: Wire, least: int) -> list[Reply]:
    """Everything that comes back, up to the end of the connection or, after `least` answers, a silence."""
    found: list[Reply] = []
    with suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        while True:
            reply = await asyncio.wait_for(wire.reply(), SILENCE if len(found) >= least else PATIENCE)
            found += [reply] if reply.status != 100 else []
    return found


async def sent(lab: Lab, attack: Attack, piece: int = 65_536) -> list[int]:
    """The statuses of what comes back, for an attack in pieces of so many bytes."""
    data = attack.bytes(lab)
    async with lab.connect() as wire:
        with suppress(ConnectionError):  # refused before its end
            for start in range(0, len(data), piece):
                await wire.send(data[start : start + piece])
                await asyncio.sleep(0.001)
        return [reply.status for reply in await answers(wire, attack.least)]


def extra(lab: Lab, attack: Attack) -> list[str]:
    """What has reached the broker otherwise than the corpus says."""
    visits = [visit.target for visit in lab.broker.visits if f"?n={attack.number}&".encode() in visit.target]
    following = sum(target.endswith(b"&next") for target in visits)
    if not attack.least <= len(visits) <= attack.most or following > (attack.most == 2):
        return [f"{attack.family} {attack.text!a}: {visits} at the broker"]
    return []


async def faults(lab: Lab, attack: Attack) -> list[str]:
    """What has gone otherwise than the corpus says, the answers too."""
    statuses = await sent(lab, attack)
    refused = len(statuses) <= 1 and min(statuses, default=400) >= 400
    if statuses == [200] * attack.most or (not attack.least and refused):
        return extra(lab, attack)
    return [f"{attack.family} {attack.text!a}: answered {statuses}"]


@pytest.mark.parametrize("family", FAMILIES)
async def test_no_framing_brings_the_broker_a_call_that_was_not_meant(
    family: str, figure: Callable[[object], None]
) -> None:
    """Refused or closed, and what follows on the connection is never read as a call; or exactly the calls that are."""
    own = [attack for attack in ATTACKS if attack.family == family]
    async with running() as lab:
        lab.change(patience=0.3)
        wrong = [fault for each in await asyncio.gather(*(faults(lab, attack) for attack in own)) for fault in each]

        figure(f"{len(own)} payloads, {len(lab.broker.visits)} calls at the broker, {len(wrong)} wrong")
        assert [] == wrong[:5]
        assert sum(attack.least for attack in own) <= len(lab.broker.visits) <= sum(attack.most for attack in own)
        assert all(len(visit.all("Authorization")) == 1 for visit in lab.broker.visits)
        assert all(lab.key not in f"{visit.headers}" for visit in lab.broker.visits)
        assert {name.lower() for visit in lab.broker.visits for name, _ in visit.headers} <= SENT
        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status


@pytest.mark.soak
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 11, 64, 200])
async def test_it_makes_no_difference_how_a_request_is_cut(piece: int, figure: Callable[[object], None]) -> None:
    """The whole corpus in pieces of a few bytes, so that each end of a piece falls on every kind of byte."""
    wrong: list[str] = []
    async with running() as lab:
        lab.change(patience=1.0)
        for start in range(0, len(ATTACKS), 40):
            some = ATTACKS[start : start + 40]
            await asyncio.gather(*(sent(lab, attack, piece) for attack in some))
            wrong += [fault for attack in some for fault in extra(lab, attack)]
    figure(f"{len(ATTACKS)} payloads in pieces of {piece}, {len(wrong)} wrong")
    assert [] == wrong


def test_the_corpus_is_large() -> None:
    """More payloads than the garden of HTTP servers has trophies, and each says something of its own."""
    assert LEAST <= sum(attack.most == 0 for attack in ATTACKS)
    assert len(ATTACKS) == len({attack.text for attack in ATTACKS})
