"""What the express lane takes, and what it leaves to the ordinary way. That both answer alike: `tests/lanes/`."""

from typing import Any

import pytest

from proxy.brokers.definition import Placement
from proxy.config.model import Engine
from proxy.express import LONGEST_WAY, MOST_BLOCKS, MOST_WAYS
from proxy.gate.clients import Client, Keyring
from proxy.pressure import LEAST
from tests.lab import Lab, running
from tests.wire import Visit, accept, answer

ACCOUNTS = "/lab/v1/accounts"


async def taken(lab: Lab, method: str, target: str, *headers: str, **options: Any) -> tuple[int, int]:
    """How many of two such calls the lane took, and the status of the second. The first may have to dial."""
    before = lab.lane.taken
    await lab.call(method, target, *headers, **options)
    reply = await lab.call(method, target, *headers, **options)
    return lab.lane.taken - before, reply.status


async def bodiless(visit: Visit) -> None:
    await visit.write(answer(200, b"", length=2))


async def closing(visit: Visit) -> None:
    await visit.write(answer(200, b"{}", "Connection: close"))


def test_it_is_on_where_nothing_is_said() -> None:
    """Express lane and connections of our own are what one gets."""
    assert Engine().express
    assert "httptools" == Engine().upstream


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_plain_reads_are_taken(method: str) -> None:
    """As soon as there is a connection to the broker."""
    async with running(engine="express") as lab:
        lab.broker.otherwise = bodiless if method == "HEAD" else accept
        assert (1, 200) == await taken(lab, method, ACCOUNTS)
        assert (2, 200) == await taken(lab, method, ACCOUNTS + "?since=1")


async def test_the_last_read_of_a_connection_is_taken() -> None:
    """A client that opens one for each call says so; it is closed behind the answer, and not before."""
    async with running(engine="express") as lab:
        for number in range(3):
            async with lab.connect() as wire:
                await wire.send(lab.request("GET", ACCOUNTS, "Connection: close"))
                reply = await wire.reply()
                assert (200, ["close"]) == (reply.status, reply.all("Connection"))
                assert await wire.ended()
            assert number == lab.lane.taken


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("POST", "/lab/v1/find", (), 200),
        ("POST", "/lab/v1/orders", (), 200),
        ("DELETE", "/lab/v1/orders/7", (), 200),
        ("GET", "/lab/v1/feed", (), 200),
        ("GET", "/lab/v1/events", (), 426),
        ("GET", "/lab/v1/wallet", (), 403),
        ("GET", "/lab/v1/nothing", (), 403),
        ("GET", "/other/v1/accounts", (), 404),
        ("GET", "/lab/v1/../accounts", (), 400),
        ("GET", ACCOUNTS, ("Origin: https://evil.example",), 403),
        ("GET", ACCOUNTS, ("Authorization: Bearer brd_no",), 401),
        ("GET", ACCOUNTS, ("Upgrade: h2c", "Connection: Upgrade"), 200),
        ("GET", ACCOUNTS, ("Connection: close, x",), 200),
        ("GET", "/lab/oauth2/token", (), 200),
    ],
    ids=str,
)  # fmt: skip
async def test_everything_else_is_not(method: str, target: str, headers: tuple[str, ...], status: int) -> None:
    """What changes or brings something, has no end, or is refused goes the ordinary way, from its first byte."""
    async with running(engine="express") as lab:
        await lab.call("GET", ACCOUNTS)
        key = "" if any(line.startswith("Authorization") for line in headers) else None
        body = b"{}" if method == "POST" else None

        assert (0, status) == await taken(lab, method, target, *headers, key=key, body=body)


async def test_a_query_that_holds_the_credential_is_written_elsewhere() -> None:
    """Where the broker wants its token in the query, the ordinary way writes it."""
    async with running(engine="express", placement=Placement("query", ("api_key",))) as lab:
        assert (0, 200) == await taken(lab, "GET", ACCOUNTS)


async def test_where_nothing_is_at_hand_a_part_of_the_reads_goes_on_too() -> None:
    """A read that the lane lets go on, and others serve, is not asked about a second time."""
    count = 300
    async with running(engine="express") as lab:
        for number in range(100):
            lab.gateway.pressure.noticed(1.0, 100.0 + number / 100)
        lab.broker.script = [closing] * count
        statuses = [(await lab.call("GET", "/lab/v1/accounts")).status for _ in range(count)]
        assert lab.gateway.pressure.part == LEAST

    assert (count * LEAST, count * (1 - LEAST)) == (statuses.count(200), statuses.count(503))


@pytest.mark.parametrize("leaving", [False, True], ids=["asked", "leaving"])
@pytest.mark.parametrize("engine", ["pool", "express"])
async def test_the_last_read_of_a_connection_may_be_refused_too(engine: str, *, leaving: bool) -> None:
    """Under pressure: the refusal says that the connection ends, and it does, in both lanes alike."""
    async with running(engine=engine) as lab, lab.connect() as wire:
        for number in range(100):
            lab.gateway.pressure.noticed(1.0, 100.0 + number / 100)
        lab.gateway.serving.leaving = leaving  # a stop is near
        await wire.send(lab.request("GET", ACCOUNTS, *([] if leaving else ["Connection: close"])))
        reply = await wire.reply()
        assert (503, ["close"], "Connection") == (reply.status, reply.all("Connection"), reply.headers[-1][0])
        assert await wire.ended()
        assert (engine == "express") == lab.lane.taken


async def test_what_was_found_is_forgotten_with_the_policy() -> None:
    """A policy in which the client may do less counts for the next call of the same bytes."""
    async with running(engine="express") as lab:
        await lab.call("GET", ACCOUNTS)
        before = lab.lane.taken
        async with lab.connect() as wire:
            for status, rights in ((200, None), (200, None), (403, {"lab": frozenset({"trade"})}), (200, None)):
                ring = lab.gateway.policy.keyring
                lab.change(keyring=Keyring(ring._digests, {"bot": Client("bot", rights)}))
                await wire.send(lab.request("GET", ACCOUNTS))
                assert status == (await wire.reply()).status
        assert 3 == lab.lane.taken - before


async def test_it_does_not_remember_every_target() -> None:
    """A client that asks for ever new targets, or for long ones, fills no memory."""
    async with running(engine="express") as lab:
        lane, policy = lab.lane, lab.gateway.policy
        for number in range(MOST_WAYS + 10):
            assert lane._way(policy, "GET", f"{ACCOUNTS}?n={number}".encode()) is not None
        assert len(lane._ways) <= MOST_WAYS
        before = len(lane._ways)
        assert lane._way(policy, "GET", f"{ACCOUNTS}?n={'9' * LONGEST_WAY}".encode()) is not None
        assert before == len(lane._ways)


async def test_it_does_not_remember_every_client() -> None:
    """Neither do ever new headers fill any memory, nor does a client's key stay there."""
    async with running(engine="express") as lab:
        for number in range(MOST_BLOCKS + 10):
            await lab.call("GET", ACCOUNTS, f"X-Number: {number}")
        assert 0 < len(lab.lane._blocks) <= MOST_BLOCKS
        assert lab.key not in repr(lab.lane._blocks)
        assert lab.key.encode() not in b"".join(key for key, _ in lab.lane._blocks)
