"""Streams of events that stay open."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.simulator.alpaca.support import BROKER, LIMIT, PAPER, STREAM, Client
from tests.simulator.support import HandClock

ACTIONS = "/v1beta1/events/corporate-actions"
STATUS = "/v1/events/accounts/status"


async def _block(answer: aiohttp.ClientResponse) -> bytes:
    async with asyncio.timeout(5):
        return await answer.content.readuntil(b"\n\n")


async def _event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    while (block := await _block(answer)).startswith(b":"):
        pass
    found: dict[str, Any] = json.loads(block.partition(b"data: ")[2])
    return found


async def test_a_stream_greets_and_gives_signs_of_life(client: Client) -> None:
    """Comments, as live; the head comes at once."""
    client.alpaca.streams.turn({"rate": 0, "heartbeat": 0.02})
    async with client.session.get(client.alpaca.url(BROKER) + STATUS, headers=client.credential(BROKER)) as answer:
        assert "text/event-stream" == answer.headers["Content-Type"]
        found = [await _block(answer) for _ in range(2)]
    assert [b": welcome to the Alpaca events\n\n", b":heartbeat\n\n"] == found


async def test_events_come_at_the_rate(client: Client) -> None:
    """One a beat, numbered without a gap, of the account."""
    client.alpaca.streams.turn({"rate": 100})
    async with client.session.get(client.alpaca.url(BROKER) + STATUS, headers=client.credential(BROKER)) as answer:
        found = [await _event(answer) for _ in range(5)]
    assert [found[0]["event_id"] + number for number in range(5)] == [event["event_id"] for event in found]
    assert [("APPROVED", "ACTIVE", client.customer)] * 5 == [
        (event["status_from"], event["status_to"], event["account_id"]) for event in found
    ]


async def test_a_real_order_is_told_of_at_once(client: Client) -> None:
    """On the stream of its own account, with what the order was at that moment."""
    async with client.session.get(
        client.alpaca.url(PAPER) + "/v2/events/trades", headers=client.credential(PAPER)
    ) as at:
        order = (await client.place(LIMIT)).document
        await client.call(PAPER, "DELETE", f"/v2/orders/{order['id']}")
        found = [await _event(at) for _ in range(2)]
    assert [("new", order["id"], "new"), ("canceled", order["id"], "canceled")] == [
        (event["event"], event["order"]["id"], event["order"]["status"]) for event in found
    ]


@pytest.mark.parametrize(("query", "count"), [("since_id=0&until_id=2", 2), ("since_id=0", 3)])
async def test_a_stream_that_ends(client: Client, query: str, count: int) -> None:
    """Where the client asked for it, and without `hold_events` after the past."""
    client.alpaca.streams.turn({"rate": 0})
    client.options.hold_events = False
    reply = await client.get(BROKER, f"{STATUS}?{query}")
    assert (200, count) == (reply.status, reply.body.count(b"data: "))


async def test_a_future_end_comes(client: Client) -> None:
    """With the event, or at the time that the client named."""
    client.alpaca.streams.turn({"rate": 100})
    assert 5 == (await client.get(BROKER, f"{STATUS}?since_id=0&until_id=5")).body.count(b"data: ")
    clock = client.clock
    assert isinstance(clock, HandClock)
    asyncio.get_running_loop().call_later(0.1, setattr, clock, "time", clock.time + 60)
    assert 200 == (await client.get(BROKER, f"{STATUS}?since=2026-03-03&until=2026-03-03T12:00:30-05:00")).status


async def test_the_last_event_id_is_taken_up(client: Client) -> None:
    """Corporate actions have ids of their own."""
    headers = {**client.credential(STREAM), "Last-Event-Id": "1"}
    async with client.session.get(client.alpaca.url(STREAM) + ACTIONS, headers=headers) as answer:
        assert [2, 3] == [(await _event(answer))["number"] for _ in range(2)]


async def test_a_stream_takes_faults_like_any_call(client: Client) -> None:
    """A refusal in its place, or half of its events and then the end of the connection."""
    client.options.hold_events = False
    await client.fault("api-401")
    assert 401 == (await client.get(BROKER, f"{STATUS}?since_id=0")).status
    await client.fault("stream-403")
    assert 403 == (await client.get(BROKER, f"{STATUS}?since_id=0")).status
    await client.fault("api-truncated")
    with pytest.raises(aiohttp.ClientError):
        await client.get(BROKER, f"{STATUS}?since_id=0")
    await client.fault("api-slow")
    assert 3 == (await client.get(BROKER, f"{STATUS}?since_id=0")).body.count(b"data: ")


async def test_what_a_slow_reader_misses_is_said(client: Client) -> None:
    """Events are dropped, and a comment counts them; the connection stays."""
    streams = client.alpaca.streams
    streams.turn({"rate": 0, "burst": 7, "backlog": -1})
    async with client.session.get(client.alpaca.url(BROKER) + STATUS, headers=client.credential(BROKER)) as answer:
        await _block(answer)
        await client.fault("stream-burst")
        async with asyncio.timeout(5):
            while streams.beat < 7:  # noqa: ASYNC110  another program, as it were
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        streams.turn({"backlog": 100_000, "burst": 1})
        await client.fault("stream-burst")
        assert b": you are reading too slowly, dropped 7 messages\n\n" == await _block(answer)
        assert 11 == (await _event(answer))["event_id"]
