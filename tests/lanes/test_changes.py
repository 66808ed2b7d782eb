"""Whatever changes between two calls on one connection counts for the second, in whichever lane it comes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxy.brokers.definition import Placement
from proxy.gate.browser import Hosts
from proxy.gate.budget import Spec
from proxy.gate.clients import Client, Keyring, digest
from proxy.gate.halt import Halt
from proxy.relay.http import SMALL
from tests.lab import ALL_SCOPES, Lab
from tests.lanes.scene import ACCOUNTS, Play, Scene, both, later, sends
from tests.wire import Step, Visit, Wire, accept, answer

pytestmark = pytest.mark.soak
BOT = Client("bot", {"lab": frozenset(ALL_SCOPES)})
ORDER = b'{"symbolId": 1}'
Change = Callable[[Lab], Any]


def keys(digests: dict[str, str] | None = None, **more: Any) -> Change:
    """Other keys, from here on. Without `digests` the usual one, held by `bot`."""

    def change(lab: Lab) -> None:
        found = {digest(lab.key): "bot"} if digests is None else digests
        lab.change(keyring=Keyring(found, **{"clients": {"bot": BOT}} | more))

    return change


def expired(lab: Lab) -> None:
    ends = {digest(lab.key): 4e9}
    lab.change(keyring=Keyring({digest(lab.key): "bot"}, {"bot": BOT}, expiries=ends))
    ends[digest(lab.key)] = 1e9


def hosts(*names: str) -> Change:
    def change(lab: Lab) -> None:
        lab.door.hosts = Hosts(names)

    return change


def pressed(lab: Lab) -> None:
    for number in range(50):
        lab.gateway.pressure.noticed(1.0, 100.0 + number / 100)
    assert not lab.gateway.pressure.calm


def draining(lab: Lab) -> None:
    lab.gateway.serving.draining = True


async def halted(lab: Lab) -> None:
    await lab.gateway.policy.halts.halt(Halt(None, None, None, cancels_too=True, by="anna", since=1.0))


async def rotated(lab: Lab) -> None:
    if await lab.keeper.renew(lab.keeper.grant.generation) is not None:
        lab.keeper.give_back()


async def forgotten(lab: Lab) -> None:
    await lab.keeper.forget()


# What is changed, and whether the first call is the only one that a lab is good for.
CHANGES: dict[str, Change] = {
    "nothing": lambda _lab: None,
    "the key is gone": keys({}),
    "the key is another's": lambda lab: keys({digest(lab.key): "dora"}, clients={"dora": Client("dora", {})})(lab),
    "the client is gone": keys(clients={}),
    "the key is bound to a member": lambda lab: keys(bindings={digest(lab.key): ("lab/nobody",)})(lab),
    "the key is bound elsewhere": lambda lab: keys(bindings={digest(lab.key): ("other/nobody",)})(lab),
    "the key has expired": expired,
    "no key is needed": keys(open_to_all=True),
    "the client has no scope": keys(clients={"bot": Client("bot", {"lab": frozenset()})}),
    "the mount has no scope": lambda lab: lab.change_mount(scopes=frozenset()),
    "the mount is gone": lambda lab: lab.change(mounts={}),
    "the mount has another name": lambda lab: lab.change(mounts={"there": replace(lab.mount, name="there")}),
    "another user agent": lambda lab: lab.change_mount(user_agent="other/2"),
    "another header passes": lambda lab: lab.change_mount(also=frozenset({b"x-also"})),
    "another host": hosts("elsewhere:1"),
    "no host counts": lambda lab: setattr(lab.door, "hosts", None),
    "no call may be in flight": lambda lab: lab.change(in_flight_per_client=0),
    "draining": draining,
    "leaving": lambda lab: setattr(lab.gateway.serving, "leaving", True),
    "halted": halted,
    "rotated": rotated,
    "forgotten": forgotten,
}


def changed(names: Sequence[str]) -> Play:
    """For each: two calls, the change, two more on the same connection, an order, and one on another connection."""

    async def play(scene: Scene) -> None:
        lab = scene.lab
        before, hosts_before = lab.gateway.policy, lab.door.hosts
        read = scene.get(ACCOUNTS, "X-Also: 1")
        for name in names:
            async with lab.connect() as wire:
                for _ in range(2):
                    await scene.say(wire, read)
                    await scene.reply(wire, name, "GET", "before")
                since = len(lab.broker.visits)
                done = CHANGES[name](lab)
                if asyncio.iscoroutine(done):
                    await done
                await _on(scene, wire, name, read)
            scene.visits(name, since)
            lab.gateway.policy = before
            lab.gateway.serving.draining = lab.gateway.serving.leaving = False
            lab.mount, lab.door.hosts = before.mounts["lab"], hosts_before
            await lab.gateway.policy.halts.resume(None)

    return play


async def _on(scene: Scene, wire: Wire, name: str, read: bytes) -> None:
    order = scene.lab.request("POST", "/lab/v1/orders", body=ORDER)
    for method, data in (("GET", read), ("GET", read), ("POST", order), ("GET", read)):
        await scene.say(wire, data)
        if not await scene.reply(wire, name, method):
            break
    async with scene.lab.connect() as other:
        await scene.say(other, read)
        await scene.reply(other, name, "GET", "another one's")


async def at_the_limit(scene: Scene) -> None:
    """As many calls in flight as a client may have, in one lane or in both."""
    scene.lab.change(in_flight_per_client=2)
    read, order = scene.get(), scene.lab.request("POST", "/lab/v1/orders", body=ORDER)
    async with scene.lab.connect() as one, scene.lab.connect() as two, scene.lab.connect() as three:
        for number, wire in enumerate((one, two, three)):
            await scene.say(wire, read)
            await scene.reply(wire, f"{number}", "GET", "before")
        for data, method in ((read, "GET"), (order, "POST")):
            scene.lab.broker.script = [later(0.1), later(0.1)]
            await scene.say(one, read)
            await scene.say(two, data)
            await asyncio.sleep(0.05)
            await scene.say(three, read)
            await scene.reply(three, "2", "GET")
            await scene.reply(one, "0", "GET")
            await scene.reply(two, "1", method)
            await scene.say(three, read)
            await scene.reply(three, "2", "GET", "after")


async def paced(scene: Scene) -> None:
    """A budget that is used up: who may not wait is refused, who may waits."""
    lab = scene.lab
    for patience in (0.0, 2.0):
        lab.gateway.pacing.define({"lab": {None: Spec(limits=((1.0, 4),), patience=patience)}})
        await asyncio.sleep(1.1)
        async with lab.connect() as wire:
            for number in range(7):
                await scene.say(wire, scene.get())
                await scene.reply(wire, f"{patience} {number}", "GET")
                await asyncio.sleep(0.1 if patience and number == 4 else 0)  # so that all four turns are free again


def by_target(steps: dict[str, Step]) -> Step:
    """A broker that goes by the query; what is sent again it accepts."""
    served = set()

    async def step(visit: Visit) -> None:
        name = visit.target.decode().partition("?")[2]
        again = name in served and name != "warm"
        served.add(name)
        await (accept if again else steps[name])(visit)

    return step


async def closing(scene: Scene) -> None:
    """The door closes while calls are under way: each answer still comes, of whatever kind it is."""
    lab = scene.lab
    answers: dict[str, Step] = {
        "whole": accept, "long": sends(answer(200, b"x" * (2 * SMALL))), "chunked": sends(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        "refused": sends(answer(401, b'{"code": 1017}', "Content-Type: application/json")),
        "lost": sends(b"HTTP/1.1 2", close=True), "unreadable": sends(b"x\r\n\r\n"),
    }  # fmt: skip
    wires = {name: await asyncio.open_connection("127.0.0.1", lab.port) for name in [*answers, "idle"]}
    lab.broker.otherwise = by_target({"warm": later(0.1)} | {name: later(0.15, answers[name]) for name in answers})
    for reader, writer in wires.values():  # at once, so that there are as many connections to the broker
        await scene.say(Wire(reader, writer), scene.get(f"{ACCOUNTS}?warm"))
    for name, (reader, writer) in wires.items():
        await scene.reply(Wire(reader, writer), name, "GET", "before")
    for name in answers:
        await scene.say(Wire(*wires[name]), scene.get(f"{ACCOUNTS}?{name}"))
    await asyncio.sleep(0.02)
    closed = asyncio.ensure_future(lab.listener.close(grace=2))
    for name in answers:
        if await scene.reply(Wire(*wires[name]), name, "GET"):
            await scene.reply(Wire(*wires[name]), name, "GET", "after")
    await scene.reply(Wire(*wires["idle"]), "idle", "GET")
    await closed
    for _, writer in wires.values():
        writer.close()
    lab.broker.otherwise = accept


async def roots(scene: Scene) -> None:
    """A mount that is served at the root of its own port: its paths, and where it sends people."""
    for target in ("/v1/accounts", "/v1/accounts?a=b", "//v1/accounts", "/lab/v1/accounts", "/"):
        for method in ("GET", "HEAD"):
            request = scene.lab.request(method, target)
            moved = answer(302, b"", f"Location: https://127.0.0.1:{scene.lab.broker.port}/v1/x", length=0)
            await scene.talk(f"{method} {target}", request, methods=[method], script=[sends(moved)], primed=False)
            await scene.talk(f"{method} {target} again", request, request, methods=[method, method], primed=False)


async def usual(scene: Scene) -> None:
    """A few calls, one after the other."""
    await scene.talk("reads", scene.get(), 0.02, scene.get(), 0.02, scene.get(ACCOUNTS + "?a"), methods=["GET"] * 3)
    await scene.talk("a key in the query", scene.get(ACCOUNTS + "?apikey=1"), methods=["GET"])
    await scene.talk("by no key", scene.get(key=""), methods=["GET"])
    await scene.talk("an echo", scene.get(), script=[sends(answer(200, b"first/part and second-part"))])


async def shed(scene: Scene) -> None:
    """Too much to do: reads are refused in part, in both lanes with the same words."""
    pressed(scene.lab)
    async with scene.lab.connect() as wire:
        for _ in range(40):
            await scene.say(wire, scene.get())
            await scene.reply(wire, "reads", "GET")
    refused = sum("overloaded" in line for line in scene.seen.talks["reads"])
    scene.note("some refused", f"{refused > 10}")
    scene.note("a refusal", next(line for line in scene.seen.talks["reads"] if "overloaded" in line))


@pytest.mark.parametrize("part", range(2))
async def test_no_change_comes_too_late(part: int, figure: Callable[[object], None]) -> None:
    """The second call is judged by what counts now, on a connection whose first one took the express lane."""
    faults, seen = await both(changed(list(CHANGES)[part::2]))
    figure(f"{len(seen.talks)} changes, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert 2 * len(seen.talks) < seen.taken


PLAYS: dict[str, tuple[Play, dict[str, Any]]] = {
    "at the limit": (at_the_limit, {}), "paced": (paced, {}), "closing": (closing, {}),
    "roots": (roots, {"root": True}), "usual": (usual, {}), "open to all": (usual, {"open_to_all": True}),
    "basic": (usual, {"placement": Placement("basic"), "credential": "first/part:second-part"}),
    "headers": (usual, {"placement": Placement("headers", ("X-A", "X-B")), "credential": "first/part:second-part"}),
    "query": (usual, {"placement": Placement("query", ("apikey",)), "credential": "first/part"}),
    "fixed": (usual, {"fixed": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAYS)
async def test_no_setting_makes_a_difference(name: str, figure: Callable[[object], None]) -> None:
    """Limits, budgets, doors that close, mounts at the root, other credentials in other places."""
    play, options = PLAYS[name]
    faults, seen = await both(play, **options)
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert bool(seen.taken) == (name != "query")


async def test_reads_that_are_shed_are_shed_in_the_same_words(figure: Callable[[object], None]) -> None:
    """Which of them go on is not the same in both lanes: one serves at once what the other lets wait for a turn."""
    faults, seen = await both(shed)
    figure(f"{seen.taken} of {len(seen.talks['reads'])} reads taken")
    kept = [fault for fault in faults if "some refused" in fault or "a refusal" in fault]
    assert [] == kept, "\n".join(faults)
    assert [] == seen.left
    assert seen.taken == len(seen.talks["reads"])
