"""Event streams."""

import asyncio
import json

import aiohttp
import pytest

from proxy.simulator.alpaca import events
from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.events import Events
from tests.simulator.alpaca.support import BROKER, LIMIT, PAPER, STREAM, Client, call


def _parsed(body: bytes) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in body.splitlines() if line.startswith(b"data: ")]


@pytest.mark.parametrize(("numbered", "first"), [(True, 1), (False, 26)])
def test_cursors_are_numbers_in_the_old_family_and_ulids_in_the_new(numbered: bool, first: int) -> None:
    """One event after the other, each later than the one before."""
    found = events.stream(events.activity, numbered=numbered)(call())
    assert isinstance(found, Events)
    ids = [event["event_id"] for event in _parsed(b"".join(found.chunks))]

    assert 3 == len(set(ids))
    assert sorted(ids, key=str) == ids
    assert first == (ids[0] if numbered else len(str(ids[0])))


@pytest.mark.parametrize("kind", ["", "_id", "_ulid"])
def test_until_needs_since_and_ends_the_stream(kind: str) -> None:
    """As documented."""
    stream = events.stream(events.activity)
    ended, open_ended = stream(call(f"since{kind}=1&until{kind}=2")), stream(call(f"since{kind}=1"))

    assert isinstance(ended, Events)
    assert isinstance(open_ended, Events)
    assert (True, False) == (ended.ends, open_ended.ends)
    with pytest.raises(Refused, match="40010000"):
        stream(call(f"until{kind}=2"))


def test_ulids_sort_by_time() -> None:
    """26 characters of Crockford's alphabet."""
    one, other = events.ulid(1.0, 9), events.ulid(2.0, 1)

    assert one < other
    assert "01ARZ3NDEK" == events.ulid(1469922850.259, 0)[:10]


async def test_a_stream_is_sent_event_by_event(client: Client) -> None:
    """Of the right content type, a comment first."""
    reply = await client.get(BROKER, "/v1/events/accounts/status")

    assert (200, "text/event-stream") == (reply.status, reply.headers["Content-Type"])
    assert reply.body.startswith(b":")
    assert [("APPROVED", "ACTIVE", client.customer)] * 3 == [
        (event["status_from"], event["status_to"], event["account_id"]) for event in _parsed(reply.body)
    ]


async def test_trade_updates_tell_of_a_real_order(client: Client) -> None:
    """The newest one of the account."""
    order = (await client.place(LIMIT)).document
    reply = await client.get(PAPER, "/v2/events/trades")

    assert order == _parsed(reply.body)[0]["order"]


async def test_a_held_stream_stays_open(client: Client) -> None:
    """Its events arrive at once, the end does not; one with `until` ends all the same."""
    client.options.hold_events = True
    url, headers = client.alpaca.url(STREAM) + "/v1beta1/events/corporate-actions", client.credential(STREAM)

    async with client.session.get(url, headers=headers) as answer:
        for _ in range(4):
            await answer.content.readuntil(b"\n\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await answer.content.read(1)
    assert 3 == len(_parsed((await client.get(STREAM, "/v1beta1/events/corporate-actions?since=1&until=2")).body))


async def test_a_stream_takes_faults_like_any_call(client: Client) -> None:
    """A refusal in its place, or half of its events and then the end of the connection."""
    await client.fault("api-401")
    assert 401 == (await client.get(BROKER, "/v2/events/trades")).status
    await client.fault("api-truncated")
    with pytest.raises(aiohttp.ClientError):
        await client.get(BROKER, "/v2/events/trades")
    await client.fault("api-slow")
    assert 3 == len(_parsed((await client.get(BROKER, "/v2/events/trades")).body))
