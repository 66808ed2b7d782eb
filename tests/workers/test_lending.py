"""Pairs in a worker: lent as custody has told, held back when custody says so, and asked for when there is none."""

import asyncio
from typing import Any

from proxy.brokers import Origin
from proxy.clock import Clock, Now, SystemClock
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from proxy.workers.lending import Lending
from proxy.workers.line import Line
from proxy.workers.link import Link, Message, pair
from proxy.workers.parcels import pair_told
from tests.workers.house import until


def told(grant: str, generation: int, clock: Clock, *, seconds: float = 60.0, doubted: bool = False) -> dict[str, Any]:
    now = clock.now()
    ends = Now(now.wall + seconds, now.boot + seconds)
    found = TokenPair(generation, Secret(f"token {generation}"), Origin("127.0.0.1", 1), ends, 60.0)
    return {"grant": grant, "pair": pair_told(found), "doubted": doubted}


class Branch:
    """A lending, and custody's end of its link."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.line = Line()
        self.lending = Lending(self.line, self.clock)
        ours, theirs = pair()
        self.asked: list[Message] = []
        self.custody = Link(theirs, self._heard)
        self.custody.open()
        self.near = Link(ours, self._told)
        self.near.open()
        self.line.joined(self.near)
        self.renews = True

    def _heard(self, message: Message) -> None:
        self.asked.append(message)
        if message.kind == "ask":
            grant, generation = message.data["grant"], message.data.get("stale", 0) + 1
            if message.data["what"] == "take" or self.renews:
                self.custody.say("pair", told(grant, generation, self.clock))
            self.custody.say("reply", {"id": message.data["id"], "newer": self.renews})

    def _told(self, message: Message) -> None:
        if message.kind == "pair":
            self.lending.told(message.data)
        else:
            self.line.replied(message.data)

    def close(self) -> None:
        self.near.close()
        self.custody.close()


async def test_a_pair_is_lent_until_it_dies_and_another_is_asked_for_then() -> None:
    """Nothing is asked while it lives; a call after that waits for what custody gives."""
    branch = Branch()
    lending = branch.lending
    lending.configured({"lab"})
    mirror = lending["lab"]
    assert mirror.take_now() is None
    lending.told(told("lab", 4, branch.clock))
    found = mirror.take_now()
    assert found is not None
    assert (found.generation, mirror.grant.generation, mirror.access_token) == (4, 4, Secret("token 4"))
    mirror.give_back()
    lending.told(told("lab", 4, branch.clock, seconds=-1))
    assert mirror.take_now() is None
    assert (await mirror.take()).generation == 1
    assert [message.data["what"] for message in branch.asked] == ["take"]
    assert lending.used == {"lab"}
    branch.close()


async def test_custody_hears_when_the_last_call_with_a_pair_is_over() -> None:
    """While it is held nobody gets one; who waits gets the next, and custody is told once."""
    branch = Branch()
    branch.lending.told(told("lab", 1, branch.clock))
    mirror = branch.lending["lab"]
    for _ in range(2):
        assert mirror.take_now()
    branch.lending.hold("lab", 9)
    assert mirror.take_now() is None
    waiting = asyncio.gather(mirror.take())
    mirror.give_back()
    await asyncio.sleep(0.01)
    assert not branch.asked
    mirror.give_back()
    await until(lambda: branch.asked)
    assert [message.data for message in branch.asked] == [{"grant": "lab", "question": 9}]
    assert not waiting.done()
    branch.custody.say("pair", told("lab", 2, branch.clock))
    assert [each.generation for each in await waiting] == [2]
    branch.lending.hold("unknown", 3)
    await until(lambda: len(branch.asked) >= 2)
    branch.close()


async def test_a_refused_pair_is_renewed_by_custody() -> None:
    """Of one generation only; with a newer one in hand nobody is asked; no newer one: the broker's 401 passes."""
    branch = Branch()
    branch.lending.told(told("lab", 3, branch.clock))
    mirror = branch.lending["lab"]
    newer = await mirror.renew(3)
    assert newer is not None
    assert newer.generation == 4
    again = await mirror.renew(3)
    assert again is not None
    assert again.generation == 4
    assert len(branch.asked) == 1
    branch.renews = False
    assert await mirror.renew(4) is None
    branch.close()


async def test_members_are_asked_for_and_forgotten_with_the_custody_that_told_of_them() -> None:
    """A grant that the configuration loses lends nothing more."""
    branch = Branch()
    branch.lending.configured({"lab"})
    member = await branch.lending.of("lab/ada")
    assert (await member.take()).generation == 1
    assert branch.lending.at_hand("lab/ada") is member
    branch.lending.anew()
    assert member.take_now() is None
    branch.lending.told(told("lab", 1, branch.clock, doubted=True))
    lab = branch.lending["lab"]
    lab.accepted(1)
    assert branch.lending.accepted == {("lab", 1)}
    branch.lending.configured(set())
    assert lab.take_now() is None
    assert not len(branch.lending)
    branch.close()


async def test_a_grant_that_goes_takes_its_members_pairs_with_it() -> None:
    """Under its name another broker may come, which must not be shown them."""
    branch = Branch()
    branch.lending.configured({"lab", "other"})
    mirrors = [await branch.lending.of(name) for name in ("lab/ada", "other/ada")]
    pairs = [await mirror.take() for mirror in mirrors]
    assert None not in pairs

    branch.lending.configured({"other"})
    branch.lending.configured({"lab", "other"})

    assert [None, mirrors[1]] == [branch.lending.at_hand(name) for name in ("lab/ada", "other/ada")]
    assert mirrors[0].take_now() is None
    branch.close()
