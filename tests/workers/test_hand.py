"""A worker, as custody sees it. Its places in budgets: `test_permits.py`; a whole one: `test_worker.py`."""

from proxy.brokers import Origin
from proxy.clock import Now, SystemClock
from proxy.errors import Refusal
from proxy.pacing import Pacing
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from proxy.workers.hand import Hand
from proxy.workers.link import Link, Message, pair
from tests.workers.house import until


class Till:
    """A keeper's part in this: how many are lent, and what may be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lent = 0
        self.generation = 1
        self.doubted = False
        self.refuses = False

    def lend(self) -> None:
        self.lent += 1

    def give_back(self) -> None:
        self.lent -= 1

    def lendable(self) -> TokenPair | None:
        ends = Now(9e9, 9e9)
        return TokenPair(self.generation, Secret("token"), Origin("127.0.0.1", 1), ends, 60.0)

    def take_now(self) -> TokenPair | None:
        self.lend()
        return self.lendable()

    async def take(self) -> TokenPair | None:
        if self.refuses:
            raise Refusal("login-needed", "grant lab: never logged in", fix="bearerd login lab")
        return self.take_now()

    async def renew(self, stale: int) -> TokenPair | None:
        if stale != self.generation:
            return self.take_now()
        return None

    def accepted(self, generation: int) -> None:
        self.doubted = generation != self.generation


class Desk:
    """A hand, and the worker's end of its link."""

    def __init__(self) -> None:
        self.keeper = Till("lab")
        ours, theirs = pair()
        self.heard: list[Message] = []
        self.worker = Link(theirs, self.heard.append)
        self.worker.open()
        link = Link(ours, lambda _: None)
        link.open()
        self.hand = Hand(1, 1, 4711, 0.0, link, self._keeper_of)  # type: ignore[arg-type]

    async def _keeper_of(self, name: str) -> Till:
        if name != "lab":
            raise LookupError("no such member")
        return self.keeper

    async def ask(self, **asked: object) -> dict[str, object]:
        await self.hand.answer({"id": 1, "grant": "lab", **asked}, Pacing(SystemClock()))
        await until(lambda: any(message.kind == "reply" for message in self.heard))
        return dict(next(message.data for message in self.heard if message.kind == "reply"))

    def close(self) -> None:
        self.hand.link.close()
        self.worker.close()


async def test_a_pair_is_told_before_the_answer_and_nothing_stays_lent() -> None:
    """The call in the worker finds it when it goes on."""
    desk = Desk()
    reply = await desk.ask(what="take")
    assert [message.kind for message in desk.heard] == ["pair", "reply"]
    assert desk.heard[0].data["pair"][:2] == [1, "token"]
    assert reply == {"id": 1}
    assert not desk.keeper.lent
    desk.close()


async def test_refusals_and_grants_that_there_are_not_are_told() -> None:
    """As a call here would be told."""
    for grant, refuses, detail in (("lab", True, "never logged in"), ("lab/ada", False, "no such member")):
        desk = Desk()
        desk.keeper.refuses = refuses
        reply = await desk.ask(what="take", grant=grant)
        assert isinstance(reply["refusal"], dict)
        assert reply["refusal"]["name"] == "login-needed"
        assert detail in reply["refusal"]["detail"]
        desk.close()


async def test_a_renewal_says_whether_there_is_a_newer_pair() -> None:
    """Of an older generation there is; of this one the till has none."""
    for stale, newer in ((0, True), (1, False)):
        desk = Desk()
        assert (await desk.ask(what="renew", stale=stale))["newer"] is newer
        assert not desk.keeper.lent
        desk.close()


async def test_a_worker_that_may_use_a_pair_counts_as_a_call_until_it_says_otherwise() -> None:
    """It says so, is told of the next pair, or is gone; an answer to an older question says nothing."""
    desk = Desk()
    desk.hand.hold(desk.keeper)  # type: ignore[arg-type]
    assert not desk.keeper.lent  # it never had one
    desk.hand.pair(desk.keeper, always=True)  # type: ignore[arg-type]
    for release in (
        lambda: desk.hand.held("lab", desk.heard[-1].data["question"]),
        lambda: desk.hand.pair(desk.keeper),  # type: ignore[arg-type]
        desk.hand.lost,
    ):
        before = len(desk.heard)
        desk.hand.hold(desk.keeper)  # type: ignore[arg-type]
        desk.hand.hold(desk.keeper)  # type: ignore[arg-type]
        assert desk.keeper.lent > 0
        await until(lambda before=before: len(desk.heard) > before)  # type: ignore[misc]
        desk.hand.held("lab", 0)
        assert desk.keeper.lent > 0
        release()  # type: ignore[no-untyped-call]
        assert not desk.keeper.lent
    desk.close()


async def test_what_was_used_is_used() -> None:
    """A grant that only workers use is kept fresh; a member that is gone hinders nothing."""
    desk = Desk()
    await desk.hand.used(["lab/ada", "lab"], [("lab", 2)])
    assert not desk.keeper.lent
    assert desk.keeper.doubted
    desk.close()
