"""Which local port stands for which stream: stable for one URL, another for another, and never too many."""

from dataclasses import dataclass, field

import pytest

from proxy.config import PortRange
from proxy.errors import Refusal
from proxy.gate.localport import Stream, StreamPort
from proxy.streams.questrade.ports import MOST_FREE, StreamPorts

HOST = "127.0.0.1"


@dataclass
class Doorways:
    """Opens nothing. `taken` are numbers that other programs have."""

    taken: set[int] = field(default_factory=set)
    open: dict[int, StreamPort] = field(default_factory=dict)
    last: int = 40000

    async def __call__(self, port: StreamPort, number: int) -> "Doorway":
        if number in self.taken:
            raise OSError(98, "address already in use")
        self.last += 1
        number = number or self.last
        assert number not in self.open
        self.open[number] = port
        return Doorway(self, number)


@dataclass
class Doorway:
    doorways: Doorways
    number: int

    async def close(self) -> None:
        del self.doorways.open[self.number]


def stream(*ids: int, mount: str = "q", grant: str = "q") -> Stream:
    return Stream(mount, grant, "quotes_stream", ids)


def pinned(first: int, last: int, doorways: Doorways | None = None) -> tuple[StreamPorts, Doorways]:
    doorways = doorways or Doorways()
    ports = StreamPorts(doorways)
    ports.define({"q": PortRange(first, last)}, free=False)
    return ports, doorways


async def test_one_stream_has_one_port_and_another_another() -> None:
    """Of each mount, person, set of symbols and address there is one, however often it is asked for."""
    ports = StreamPorts(Doorways())
    ports.define({"q": None, "r": None}, free=True)
    asked = [stream(1), stream(1, 2), stream(mount="r"), stream(grant="q/anna"), stream(1)]

    numbers = [await ports.hand_out(each, HOST, "bot") for each in asked]

    assert (4, numbers[0]) == (len(set(numbers)), numbers[-1])
    assert numbers[0] != await ports.hand_out(stream(1), "::1", "bot")


async def test_a_range_is_kept_to_and_the_longest_unused_is_given_to_another() -> None:
    """The numbers are the configuration's; a port with a client inside stays what it is."""
    ports, doorways = pinned(8090, 8092)
    assert [8090, 8091, 8092] == [await ports.hand_out(stream(number), HOST, "bot") for number in (1, 2, 3)]
    assert 8090 == await ports.hand_out(stream(1), HOST, "bot")  # used again

    with doorways.open[8091].entered():
        assert 8092 == await ports.hand_out(stream(4), HOST, "bot")
        with doorways.open[8090].entered(), doorways.open[8092].entered(), pytest.raises(Refusal) as none:
            await ports.hand_out(stream(5), HOST, "bot")
        assert (503, True) == (none.value.kind.status, "mounts.q.stream_ports" in (none.value.fix or ""))

    assert stream(4) == doorways.open[8092].stream


async def test_a_port_that_moved_means_the_old_stream_to_who_has_not_asked_since() -> None:
    """It would get what it did not ask for: it has to ask again."""
    ports, doorways = pinned(8090, 8090)
    await ports.hand_out(stream(1), HOST, "old")
    port = doorways.open[8090]
    assert port.means("old")
    await ports.hand_out(stream(2), HOST, "new")

    assert (False, True, True) == (port.means("old"), port.means("new"), port.means("a stranger"))
    await ports.hand_out(stream(2), HOST, "old")
    assert port.means("old")


async def test_ports_of_other_programs_are_passed_over() -> None:
    """If none is left, the refusal says where to widen the range."""
    ports, _ = pinned(8090, 8091, Doorways(taken={8090}))
    assert 8091 == await ports.hand_out(stream(1), HOST, "bot")

    ports, _ = pinned(8090, 8091, Doorways(taken={8090, 8091}))
    with pytest.raises(Refusal):
        await ports.hand_out(stream(1), HOST, "bot")


async def test_free_ports_are_limited_and_never_given_to_another_stream() -> None:
    """The longest unused one is closed, and the new one has another number."""
    doorways = Doorways()
    ports = StreamPorts(doorways)
    ports.define({"q": None}, free=True)
    first = [await ports.hand_out(stream(number), HOST, "bot") for number in range(MOST_FREE)]
    with doorways.open[first[0]].entered():
        newest = await ports.hand_out(stream(99), HOST, "bot")

    assert (MOST_FREE, False, True, True) == (
        len(doorways.open),
        first[1] in doorways.open,
        newest not in first,
        first[0] in doorways.open,
    )


async def test_beyond_this_machine_a_range_must_be_named() -> None:
    """No port is opened to others that nobody has written down."""
    ports = StreamPorts(Doorways())
    ports.define({"q": None}, free=False)
    with pytest.raises(Refusal) as none:
        await ports.hand_out(stream(1), HOST, "bot")
    assert "mounts.q.stream_ports" in (none.value.fix or "")


async def test_what_a_new_definition_lacks_is_closed() -> None:
    """A range that shrank, a mount that is gone; what is still there stays open. At last all are closed."""
    ports, doorways = pinned(8090, 8092)
    for number in (1, 2, 3):
        await ports.hand_out(stream(number), HOST, "bot")

    ports.define({"q": PortRange(8091, 8092)}, free=False)
    await ports.tidy()
    assert {8091, 8092} == set(doorways.open)

    await ports.close()
    assert {} == doorways.open
    with pytest.raises(Refusal):
        await ports.hand_out(stream(1), HOST, "bot")


@pytest.mark.parametrize("free", [True, False], ids=["free", "pinned"])
async def test_a_client_that_asks_for_many_ports_gives_up_its_own(free: bool) -> None:
    """Who was just told a number, and is about to connect, must not find it gone because another asks and asks."""
    doorways = Doorways()
    ports = StreamPorts(doorways)
    ports.define({"q": None if free else PortRange(8090, 8090 + MOST_FREE - 1)}, free=free)
    told = await ports.hand_out(stream(1), HOST, "quiet")
    for number in range(2, 3 * MOST_FREE):
        await ports.hand_out(stream(number), HOST, "greedy")
    assert stream(1) == doorways.open[told].stream
    assert MOST_FREE == len(doorways.open)
