"""All workers, as custody sees them: told of changes in their order, waited for, and killed if they hang."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.metrics import Metrics
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.workers.crew import Crew
from proxy.workers.link import Link, Message, pair
from tests.scraped import samples
from tests.workers.house import until


class Office:
    """What of an app a crew needs here."""

    def __init__(self) -> None:
        self.keys = ClientKeys(Vault(MemoryStore(), Sealer(b"k" * 32, "a store")), SystemClock())
        self.metrics = Metrics()
        self.keepers = self
        self.doors = self
        self.clock = SystemClock()
        self.custody = self

    async def of(self, name: str) -> Any:
        raise LookupError(name)


class Hands:
    """The supervisor's end, and a worker's."""

    def __init__(self, crew: Crew, control: socket.socket) -> None:
        self.crew = crew
        self.supervised: list[Message] = []
        self.told: list[Message] = []
        self.answers = True
        self.control = Link(control, self._supervise)
        self.control.open()
        self.control.say("begin", {"sockets": [], "count": 1, "pid": 4711, "every": 0.5, "alive": 0.01})
        theirs, ours = pair()
        self.worker = Link(ours, self._hear)
        self.worker.open()
        self.control.say("worker", {"number": 1, "serial": 3, "pid": 4712, "since": 5.0}, files=[theirs.fileno()])
        theirs.close()

    def _supervise(self, message: Message) -> None:
        self.supervised.append(message)
        if message.kind == "kill":
            self.worker.close()
            self.control.say("gone", {"number": message.data["number"], "serial": message.data["serial"]})

    def _hear(self, message: Message) -> None:
        self.told.append(message)
        if message.kind == "sync" and self.answers:
            self.worker.say("synced", message.data)

    def kinds(self) -> list[str]:
        return [message.kind for message in self.told]


@asynccontextmanager
async def crewed() -> AsyncIterator[tuple[Office, Crew, Hands]]:
    """One worker, that knows all there was at its start."""
    ours, theirs = pair()
    office = Office()
    crew = Crew(ours, lambda: None)
    hands = Hands(crew, theirs)
    await crew.begin(office)  # type: ignore[arg-type]
    crew._serving = True
    office.keys.changed = crew._key_changed
    await until(crew.told)
    for hand in crew._hands.values():
        hand.link.open()
    yield office, crew, hands
    crew.close()
    hands.control.close()
    hands.worker.close()


async def test_a_command_is_answered_when_workers_go_by_what_it_changed() -> None:
    """A new key and a removed one have been told before; a lent one counts as long as it is lent."""
    async with crewed() as (office, crew, hands):
        assert crew.pid == 4711

        async def add(client: str) -> dict[str, Any]:
            made = await office.keys.add(client)
            return {"digest": made.key.digest}

        commands = crew.settled({"add": add})
        digest = (await commands["add"]("bot"))["digest"]
        assert hands.kinds() == ["keys", "sync"]
        assert hands.told[0].data == {digest: ["bot", None, None]}
        await crew.settled({"remove": _removing(office)})["remove"]()
        assert hands.told[2].data == {digest: [None, None, None]}

        @asynccontextmanager
        async def lend(key: str) -> AsyncIterator[dict[str, Any]]:
            with office.keys.lent("bot", key):
                yield {}

        async with crew.settled_holding({"lend": lend})["lend"]("d" * 64):
            assert hands.told[-2].data == {"d" * 64: ["bot", None, None]}
        await crew.settle()
        assert hands.told[-2].data == {"d" * 64: [None, None, None]}


def _removing(office: Office) -> Any:
    async def remove() -> dict[str, Any]:
        return {"removed": await office.keys.remove("bot")}

    return remove


async def test_a_worker_that_takes_nothing_over_is_killed() -> None:
    """So that nobody goes by an old state when a command has been answered."""
    async with crewed() as (_, crew, hands):
        hands.answers = False
        crew.patience = 0.02
        await crew.settle()
        kills = [message.data for message in hands.supervised if message.kind == "kill"]
        assert kills[0] == {"number": 1, "serial": 3}
        assert not crew.told()
        await crew.settle()


async def test_a_worker_whose_link_is_over_is_killed_and_waited_for() -> None:
    """It may live on, and go by keys that were removed since: a command is answered when it has ended."""
    async with crewed() as (_, crew, hands):
        hands.worker.close()
        await crew.settle()
        assert any(message.kind == "kill" for message in hands.supervised)
        assert not crew.told()


async def test_a_worker_that_has_ended_is_counted_once() -> None:
    """However often its end is told."""
    async with crewed() as (office, crew, hands):
        hands.worker.close()
        await crew.settle()
        hands.control.say("gone", {"number": 1, "serial": 1})
        await crew.settle()
        assert {(): 1.0} == samples(office.metrics.render(), "bearerd_workers_ended_total")


async def test_workers_are_told_of_with_their_calls_and_restarts() -> None:
    """As the supervisor and they themselves say; signs of life go to the supervisor meanwhile."""
    async with crewed() as (_, crew, hands):
        hands.worker.say("report", {"metrics": {"counts": {}, "in_flight": 4}})
        await until(lambda: crew.told()[0]["in_flight"])
        told = {"number": 1, "pid": 4712, "ready": False, "since": 5.0, "in_flight": 4, "restarts": 2}
        assert crew.told() == [told]
        await until(lambda: [message.kind for message in hands.supervised].count("alive") > 2)


async def test_a_worker_that_comes_during_a_stop_hears_of_it() -> None:
    """One that is started again in the time in which every answer ends its connection."""
    async with crewed() as (_, crew, hands):
        crew.leave()
        await until(lambda: "leave" in hands.kinds())
        told: list[Message] = []
        theirs, ours = pair()
        late = Link(ours, told.append)
        late.open()
        hands.control.say("worker", {"number": 2, "serial": 1, "pid": 4713, "since": 6.0}, files=[theirs.fileno()])
        theirs.close()
        await until(lambda: "leave" in [message.kind for message in told])
        late.close()
