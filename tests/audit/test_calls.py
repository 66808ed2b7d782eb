"""What the gateway tells the trail, over real sockets: an order's intent before its bytes leave, its outcome before
the answer does; a full disk stops orders, not reads."""

import asyncio
import errno
import json
from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest

from proxy.audit.calls import Calls
from proxy.audit.trail import SLOW
from proxy.audit.trailfile import name_of
from proxy.brokers import load
from proxy.config.document import parse_yaml
from proxy.errors import Refusal
from proxy.store.disk import MemoryDisk
from tests.audit.trails import opened, order, read, vault
from tests.lab import DEFINITION, Lab, running
from tests.wire import Step, Visit, reset

ORDER = b'{"symbolId": 424242}'
CANCEL = 'id: order_cancel, method: DELETE, path: "/v1/orders/{order}", scope: trade, mutating: true'
LAB = load(parse_yaml(DEFINITION.replace(CANCEL, CANCEL + ", order: {kind: lower}"), "lab.yaml"), "lab")


def durable(lab: Lab) -> list[dict[str, Any]]:
    """What a power loss this very moment would leave for certain."""
    content = lab.disk._files.get(lab.trail.directory / name_of(1))
    return [json.loads(line) for line in bytes(content.durable).splitlines()] if content else []


def kinds(lab: Lab, *names: str) -> list[tuple[Any, ...]]:
    """These fields of the records about calls that are durable."""
    return [tuple(f.get(name) for name in ("kind", *names)) for f in durable(lab) if f["kind"] not in ("opened", "gap")]


async def test_an_order_is_on_the_disk_before_it_leaves_and_before_its_answer_does() -> None:
    """However slow the disk is: at the broker the intent is durable, at the client the outcome."""
    seen: list[list[tuple[Any, ...]]] = []

    async def step(visit: Visit) -> None:
        seen.append(kinds(lab, "id"))
        await visit.json({"orderId": 7})

    async with running(broker=LAB) as lab:
        lab.disk.sync_seconds = 0.02
        lab.broker.script = [step]
        reply = await lab.call("POST", "/lab/v1/orders?x=1", "X-Request-Id: first", body=ORDER)

        assert (200, [[("intent", "first")]]) == (reply.status, seen)
        assert [("intent", "first", None, None), ("outcome", "first", 200, "broker")] == kinds(
            lab, "id", "status", "outcome"
        )
        intent = durable(lab)[1]
        assert ("/v1/orders", "trade", "order_new", True) == tuple(
            intent[name] for name in ("row", "scope", "rule", "mutating")
        )
        assert lab.trail.keys.digest(b"POST", b"/v1/orders?x=1", ORDER) == intent["sent"]
        assert b"424242" not in json.dumps(durable(lab)).encode()


@pytest.mark.timing  # on a busy machine orders come one after the other
async def test_a_hundred_clients_orders_share_their_syncs(figure: Callable[[object], None]) -> None:
    """Over a hundred connections at once, with a disk that takes 5 ms: far fewer syncs than orders."""
    async with running(broker=LAB) as lab:
        await lab.trail.durable()
        lab.disk.sync_seconds = 0.005
        before = lab.disk.calls["datasync"]
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(lab.call("POST", "/lab/v1/orders", body=ORDER)) for _ in range(100)]
        syncs = lab.disk.calls["datasync"] - before
        assert {200} == {call.result().status for call in calls}
        assert 200 == len(kinds(lab))
    figure(f"{syncs} syncs of 5 ms for 100 orders of 100 clients")
    assert syncs < 100


async def test_a_read_waits_for_nothing() -> None:
    """Its record comes after its answer."""
    async with running(broker=LAB) as lab:
        lab.disk.sync_seconds = 1.0
        began = perf_counter()
        assert 200 == (await lab.call("GET", "/lab/v1/accounts?x=1")).status
        assert perf_counter() - began < 0.5
        assert [] == durable(lab)
        lab.disk.sync_seconds = 0.0
        await lab.trail.durable()
        assert [("call", "/v1/accounts", 200, "broker", 1)] == kinds(lab, "row", "status", "outcome", "generation")


@pytest.mark.parametrize(
    ("method", "target", "key", "expected"),
    [
        ("POST", "/lab/v1/orders/..", None, (400, "ambiguous-target", None, "bot")),
        ("GET", "/lab/v1/orders/7", None, (403, "scope-denied", None, "bot")),
        ("POST", "/none", None, (404, "unknown-mount", None, "bot")),
        ("GET", "/lab/v1/accounts", "brd_x", (401, "unknown-client", None, None)),
        ("GET", "/lab/v1/wallet", None, (403, "scope-denied", "/v1/wallet", "bot")),
    ],
)
async def test_what_is_refused_is_on_record_too(
    method: str, target: str, key: str | None, expected: tuple[Any, ...]
) -> None:
    """With what said no; never as an intent, since nothing was about to be sent."""
    async with running(broker=LAB) as lab:
        await lab.call(method, target, key=key)
        await lab.trail.durable()
        assert [("call", *expected)] == kinds(lab, "status", "outcome", "row", "client")


@pytest.mark.parametrize(
    ("steps", "outcome", "status"),
    [([reset], "outcome-unknown", 500), ([], "broker", 200)],
    ids=["lost", "answered"],
)
async def test_what_became_of_an_order_is_durable_with_the_answer(steps: list[Step], outcome: str, status: int) -> None:
    """That nobody knows is an outcome as well."""
    async with running(broker=LAB) as lab:
        lab.broker.script = list(steps)
        assert status == (await lab.call("POST", "/lab/v1/orders", body=ORDER)).status
        assert [("intent", None), ("outcome", outcome)] == kinds(lab, "outcome")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
@pytest.mark.parametrize("call", ["pwrite", "datasync"])
async def test_a_failing_disk_stops_orders_and_not_reads_nor_cancels(
    call: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """503, nothing sent, no Retry-After; a cancel passes with a loud line. When the disk is back all of it is there."""
    async with running(broker=LAB) as lab:
        assert 200 == (await lab.call("POST", "/lab/v1/orders", body=ORDER)).status
        lab.disk.fail(call, number, times=100)
        for _ in range(3):
            refused = await lab.call("POST", "/lab/v1/orders", body=ORDER)
            assert (503, "audit-unavailable") == refused.problem
            assert refused.one("Retry-After") is None
            assert "disk" in refused.document["fix"]
            assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status
        assert 1 == sum(visit.line.startswith(b"POST") for visit in lab.broker.visits)
        assert 200 == (await lab.call("DELETE", "/lab/v1/orders/7")).status
        assert 200 == (await lab.call("DELETE", "/lab/v1/orders/7")).status
        assert 2 == caplog.text.count("is sent although the audit trail can't be written")
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)

        lab.disk.heal()
        assert 200 == (await lab.call("POST", "/lab/v1/orders", body=ORDER)).status
        assert "" == lab.trail.standing.fault
        await lab.trail.durable()
        outcomes = [fields[1] for fields in kinds(lab, "outcome") if fields[0] == "outcome"]
        assert ["broker", *["audit-unavailable"] * 3, "broker", "broker", "broker"] == outcomes
        assert 3 == sum(fields[0] == "call" for fields in kinds(lab))
        assert 1 == sum(fields["kind"] == "gap" for fields in durable(lab))


async def test_a_disk_that_fails_between_order_and_answer_does_not_hide_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The order was executed: the client learns that, the log is loud, and the outcome follows."""
    async with running(broker=LAB) as lab:

        async def step(visit: Visit) -> None:
            lab.disk.fail("datasync", errno.EIO, times=1)
            await visit.json({"orderId": 7})

        lab.broker.script = [step]
        assert 200 == (await lab.call("POST", "/lab/v1/orders", body=ORDER)).status
        assert "an answer goes out before the audit trail has it" in caplog.text
        await lab.trail.durable()
        assert [("intent", None), ("outcome", "broker")] == kinds(lab, "outcome")


async def test_a_disk_that_hangs_is_waited_for_only_so_long() -> None:
    """Then it counts as failing: an order is refused, a cancel passes."""
    async with running(broker=LAB) as lab:
        calls = Calls(lab.trail, patience=0.05)
        lab.disk.sync_seconds = 0.4
        with pytest.raises(Refusal, match="audit-unavailable"):
            await calls.intend(order(), b"/v1/orders", ORDER)
        assert SLOW == lab.trail.standing.fault
        await calls.intend(order(order="lower"), b"/v1/orders/7", None)
        lab.disk.sync_seconds = 0.0
        await lab.trail.durable()
        assert "" == lab.trail.standing.fault


async def test_a_client_that_leaves_leaves_an_order_of_which_nobody_knows() -> None:
    """It hung up while the broker was thinking."""
    async with running(broker=LAB) as lab:
        gone = asyncio.Event()

        async def step(visit: Visit) -> None:
            await gone.wait()
            await visit.json({"orderId": 7})

        lab.broker.script = [step]
        async with lab.connect() as wire:
            await wire.send(lab.request("POST", "/lab/v1/orders", body=ORDER))
            async with asyncio.timeout(5):
                while not lab.broker.visits:  # noqa: ASYNC110  another task's doing
                    await asyncio.sleep(0.005)
        gone.set()
        async with asyncio.timeout(5):
            while lab.gateway.serving.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await lab.trail.durable()
        assert ("outcome", "unknown", 0) == kinds(lab, "outcome", "status")[-1]


async def test_a_flood_of_strangers_does_not_fill_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred are told one by one, of the rest how many there were, on the log as well; clients have a record each
    all the while.
    """
    async with running(broker=LAB) as lab:
        calls = Calls(lab.trail, tell=0.05)
        for _ in range(5000):
            calls.ended(read(client=None, status=401, outcome="unknown-client"))
            calls.ended(read())
        await asyncio.sleep(0.1)
        await lab.trail.durable()
        strangers = [fields for fields in durable(lab) if fields.get("outcome") == "unknown-client"]
        (rest,) = [fields["count"] for fields in durable(lab) if fields["kind"] == "strangers"]
        assert 100 <= len(strangers) < 110
        assert 5000 == len(strangers) + rest
        assert 5000 == sum(fields.get("client") == "bot" for fields in durable(lab))
        assert (len(strangers), 1) == (caplog.text.count("unknown-client"), caplog.text.count("were only counted"))


async def test_one_record_a_call_and_no_more() -> None:
    """Settled or not, told of once or twice."""
    async with running(broker=LAB) as lab:
        calls, one = Calls(lab.trail), read()
        await calls.settle(one)
        for _ in range(2):
            calls.ended(one)
        await lab.trail.durable()
        assert 1 == len(kinds(lab))


async def test_an_outcome_has_room_when_calls_have_none_and_else_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What became of an order counts for more than reads; if even that is lost, the log says so."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept, room=2000) as trail:
        calls = Calls(trail)
        records = [order(client="bot"), order(client="bot")]
        for record in records:
            record.began = perf_counter()
            await calls.intend(record, b"/v1/orders", ORDER)
        while trail.put("call", '"x":1'):
            pass
        await calls.settle(records[0], "broker")
        assert "before the audit trail has it" not in caplog.text
        while trail.put("outcome", '"x":1'):
            pass
        await calls.settle(records[1], "broker")
        assert "before the audit trail has it" in caplog.text


async def test_a_fault_of_ours_after_an_order_has_left_is_an_unknown_outcome() -> None:
    """The client gets a 500; the trail does not make believe that nothing came of it."""

    async def step(visit: Visit) -> None:
        lab.mount.relay._place = None  # type: ignore[assignment]
        await visit.json({"orderId": 7})

    async with running(broker=LAB) as lab:
        lab.broker.script = [step]
        assert (500, "internal") == (await lab.call("POST", "/lab/v1/orders", body=ORDER)).problem
        assert [("intent", None), ("outcome", "unknown")] == kinds(lab, "outcome")


async def test_a_call_that_lowers_risk_waits_less_and_says_nothing_of_the_disk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A disk that is slower than it waits for has not failed: the outcome of an order is waited for all the same."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        await trail.durable()
        disk.sync_seconds = 0.2
        calls, cancel, placed = Calls(trail, lower=0.02), order(client="bot", order="lower"), order(client="bot")
        await calls.intend(cancel, b"/v1/orders/7", None)
        assert "is sent although" in caplog.text
        assert "" == trail.standing.fault
        await calls.intend(placed, b"/v1/orders", ORDER)
        await calls.settle(placed, "broker")
        assert 0 == trail.standing.waiting
