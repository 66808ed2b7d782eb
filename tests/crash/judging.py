"""What a new start makes of what a run has left: the verdict on one point."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.errors import Refusal
from proxy.simulator.questrade.broker import Questrade
from proxy.store import StoreError
from proxy.tokens.grant import State, TokenPair
from proxy.tokens.journal import JournalError
from proxy.tokens.keeper import Keeper
from tests.crash.rotate import GRANT, House, opened
from tests.crash.tracing import Point

PHASES = ("before intent", "intent", "posting", "window", "journalled", "stored")
LOST = "the answer to a token request was lost, and now the broker refused the refresh token (400)"
LOGIN = f"bearerd login {GRANT}"


@dataclass(frozen=True, slots=True)
class Left:
    """What a run left on the disk: the store's generation, intents, and answers that hold a pair."""

    generation: int = 0
    intents: int = 0
    answers: int = 0


@dataclass(slots=True)
class Verdict:
    """What happened in one run, and what came of it. `wrong` is what must never be.

    `base` is the generation before the run; `failed`: the call got the error. `spent` and `reused` are the broker's
    counts: rotations in the run, and spent refresh tokens that it saw again, in the run and after it. `state`, after
    the new start, is `old`, `new` or `lost`.
    """

    point: Point | None
    base: int
    told: list[str]
    status: int
    failed: bool = False
    spent: int = 0
    reused: int = 0
    left: Left = Left()
    state: str = ""
    corrupt: bool = False
    wrong: list[str] = field(default_factory=list)

    @property
    def hit(self) -> bool:
        """Whether the call was made at all: no two runs make quite the same."""
        return self.failed or self.status == -9

    @property
    def phase(self) -> str:
        """How far it had come, by what the broker has counted and what is on the disk."""
        if self.left.generation > self.base:
            return "stored"
        if self.left.answers:
            return "journalled"
        if self.spent:
            return "window"
        if "posting" in self.told:
            return "posting"
        return "intent" if self.left.intents else "before intent"

    def __str__(self) -> str:
        return f"{self.point or 'untouched'}: {self.phase} → {self.state or 'corrupt'}"


class Counts:
    """How far the simulator's counters have moved since a moment."""

    def __init__(self, simulator: Questrade, since: Mapping[str, object] | None = None) -> None:
        self._simulator, self._since = simulator, since or simulator.state()

    def __getitem__(self, name: str) -> int:
        now, then = self._simulator.state()[name], self._since[name]
        assert isinstance(now, int)
        assert isinstance(then, int)
        return now - then


class Bench(Protocol):
    """What a judge needs of a yard."""

    simulator: Questrade

    async def ask(self, pair: TokenPair) -> int:
        """The status of a call to the broker's API."""


Judge = Callable[[Bench, House, Verdict], Awaitable[None]]


async def judge(how: Judge, bench: Bench, directory: Path, verdict: Verdict, count: Counts) -> None:
    """Open what is left as a server would, look at it, start, and let `how` see what can be had of it."""
    verdict.spent = count["rotations"]
    try:
        async with opened(directory) as house:
            verdict.left = await what_is_left(house, verdict.base)
            await house.keeper.start(house.custody.journal.found())
            await how(bench, house, verdict)
    except (StoreError, JournalError) as fault:
        verdict.corrupt = True
        verdict.wrong.append(f"does not open: {fault}")
    verdict.reused = count["reused_refresh_tokens"]
    if verdict.reused != (verdict.state == "lost"):
        verdict.wrong.append(f"{verdict.reused} times a spent token was posted")


async def what_is_left(house: House, base: int) -> Left:
    entry = await house.custody.vault.get(f"grant/{GRANT}")
    assert entry is not None, "the grant is gone from the store"
    slots = [item for item in house.custody.journal.found() if item.intent.generation == base]
    answers = sum(item.answer is not None and item.answer.status == 200 for item in slots)
    return Left(entry.generation, len(slots), answers)


async def call(bench: Bench, keeper: Keeper) -> bool:
    """Whether a call is served, as the relay makes it: once more with a newer token if the broker refuses this one."""
    pair = await keeper.take()
    status = await bench.ask(pair)
    keeper.give_back()
    if status == 401:
        newer = await keeper.renew(pair.generation)
        if newer is None:
            return False
        pair, status = newer, await bench.ask(newer)
        keeper.give_back()
    if status == 200:
        keeper.accepted(pair.generation)
    return status == 200


async def rotated(bench: Bench, house: House, verdict: Verdict) -> None:
    """Serve calls, and renew once more, as long as that is possible without a person."""
    keeper, posts = house.keeper, Counts(bench.simulator)
    new = keeper.standing().generation > verdict.base
    verdict.state = "new" if new else "old"
    if {"published", "acknowledged"} & set(verdict.told) and not new:
        verdict.wrong.append("it was acknowledged, and is old")
    if verdict.phase in ("journalled", "stored") and not new:
        verdict.wrong.append("the new pair was on the disk, and the old one is held")
    if new and posts["token_posts"]:
        verdict.wrong.append("a post was made for a pair that was there")
    if verdict.status == -9 and verdict.phase == "window" and keeper.state is not State.UNCERTAIN:
        verdict.wrong.append(f"nobody can know whether the token is spent, and the grant is {keeper.state.value}")
    try:
        served = await call(bench, keeper)
        bench.simulator.expire()
        renewed = await call(bench, keeper)
    except Refusal as refusal:
        standing = keeper.standing()
        told = (standing.state, standing.reason, standing.fix)
        if verdict.phase != "window" or told != (State.NEEDS_LOGIN, LOST, LOGIN):
            verdict.wrong.append(f"lost, and not in the window: {told} {refusal}")
        verdict.state = "lost"
        return
    if not (served and renewed):
        verdict.wrong.append("a call was not served")


async def logged_in(bench: Bench, house: House, verdict: Verdict) -> None:
    """The old login or the new one, and neither needs a person: the old one's token was never spent."""
    new = house.keeper.standing().generation > verdict.base
    verdict.state = "new" if new else "old"
    if "acknowledged" in verdict.told and not new:
        verdict.wrong.append("it was acknowledged, and is old")
    try:
        served = await call(bench, house.keeper)
        bench.simulator.expire()
        served = served and await call(bench, house.keeper)
    except Refusal as refusal:
        verdict.wrong.append(f"neither login is served: {refusal}")
        return
    if not served:
        verdict.wrong.append("a call was not served")


async def adopted(bench: Bench, house: House, verdict: Verdict) -> None:
    """Served with a new pair; or as before, and the operator's next word decides."""
    keeper, posts = house.keeper, Counts(bench.simulator)
    new = keeper.standing().generation > verdict.base
    verdict.state = "new" if new else "old"
    if ("acknowledged" in verdict.told or verdict.phase in ("journalled", "stored")) and not new:
        verdict.wrong.append("the new pair was on the disk, and the old one is held")
    if not new and (keeper.standing().state is not State.NEEDS_LOGIN or posts["token_posts"]):
        verdict.wrong.append("a refused token was taken up without an operator")
    if not new and (await keeper.adopt()).state is State.NEEDS_LOGIN:
        verdict.state = "lost"
        if verdict.phase != "window":
            verdict.wrong.append("lost, and not in the window")
    elif not await call(bench, keeper):
        verdict.wrong.append("a call was not served")


async def revoked(bench: Bench, house: House, verdict: Verdict) -> None:
    """Given up, or as before; acknowledged, it is given up."""
    gone = house.keeper.standing().state is State.NONE
    verdict.state = "new" if gone else "old"
    if "acknowledged" in verdict.told and not gone:
        verdict.wrong.append("it was acknowledged, and the grant is there")
    if not gone and not await call(bench, house.keeper):
        verdict.wrong.append("a call was not served")


async def client_added(bench: Bench, house: House, verdict: Verdict) -> None:
    """The key is there or not; acknowledged, it is there. The grant is as before."""
    keys = ClientKeys(house.custody.vault, SystemClock())
    await keys.load()
    verdict.state = "new" if keys.all() else "old"
    if "acknowledged" in verdict.told and verdict.state == "old":
        verdict.wrong.append("it was acknowledged, and the key is gone")
    if not await call(bench, house.keeper):
        verdict.wrong.append("a call was not served")
