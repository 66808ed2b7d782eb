"""Ways in which a token endpoint fails, at each broker: calls are served as long as the access token lives.

All of them run at once, each with a bearerd and a simulated broker of its own. A call counts as failed if it got no
200 although before it and after it the access token in hand had time left and the broker took it: the simulator is
asked for that. A call that is still held at the end counts neither way. What a fault costs beyond, and how often the
endpoint may be asked, is in `EXPECTED`.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.app import App
from proxy.simulator import Simulator
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.options import clock
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.tokens import Standing
from proxy.simulator.tradier.broker import Tradier
from tests.callers import Wire, eventually
from tests.everybroker import in_front_of

MINUTE, POSTS_A_MINUTE = 60.0, 6  # the bar: so many requests to the token endpoint within the first minute
CALLERS = 2
SHARE = 0.6  # of a processor: what the start of everything uses at least where nothing else runs


@dataclass(frozen=True)
class Desk:
    """A broker's login, a mount of it, and a call that the mount may make."""

    login: str
    mount: Mapping[str, Any]
    call: str


DESKS = {
    "questrade": Desk("refresh-token", {"scopes": ["read_acc"]}, "/v1/accounts"),
    "tradier": Desk("code", {"scopes": ["read"]}, "/v1/user/profile"),
    "alpaca": Desk("client-credentials", {"api": "data", "scopes": ["data"]}, "/v2/stocks/AAPL/bars/latest"),
}
REFUSED = ("500", "503-html-maintenance", "403", "429", "html-200", "hang", "drop-before")
DONE = ("slow", "drop-after", "empty-200", "truncated", "truncated-late", "junk-expires", "foreign-api-server")
DEAD = ("invalid-grant",)
HEALS, LOGIN, KEPT, STOPPED = "", "needs-login", "fresh", "stopped"

# What becomes of the grant: (broker, fault) → the state that it stays in; those that are not here heal by themselves.
EXPECTED = {
    # The broker said that the token is dead. What is minted has none that could be: then it is our own that are wrong.
    **{(broker, "invalid-grant"): LOGIN for broker in ("questrade", "tradier")},
    ("alpaca", "invalid-grant"): STOPPED,
    # The pair went with the answer: the old token is tried once more, and then only a person can help.
    **{(broker, fault): LOGIN for broker in ("questrade", "tradier") for fault in ("drop-after", "empty-200")},
    **{(broker, "truncated"): LOGIN for broker in ("questrade", "tradier")},
    # The broker's API is said to be elsewhere. Nothing is sent there, so calls fail; and nothing is lost.
    ("questrade", "foreign-api-server"): KEPT,
}


@dataclass
class Scene:
    """One bearerd under one fault, and what came of it. Times are loop times in seconds."""

    broker: str
    fault: str
    app: App
    simulator: Simulator
    answers: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    pause: float = 0.5  # seconds between a program's calls
    problems: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"{self.broker}, {self.fault}"

    def count(self, name: str) -> int:
        found = self.simulator.state()[name]
        assert isinstance(found, int)
        return found

    def standing(self) -> str:
        return self.app.keepers["ada"].standing().state.value

    def good(self) -> bool:
        """Whether the access token in hand has time left, and the broker takes it."""
        found = self.app.keepers["ada"].standing()
        return found.access_expires is not None and self.app.clock.now().wall < found.access_expires and self.takes()

    def takes(self) -> bool:
        """Whether the broker takes the access token in hand."""
        token = self.app.keepers["ada"].access_token
        match self.simulator:
            case _ if token is None:
                return False
            case Questrade(_grants=tokens) | Tradier(_tokens=tokens):
                return tokens.standing(token.reveal(), clock()) is Standing.CURRENT
            case Alpaca(credentials=own):
                return own.minted.standing(token.reveal(), clock()) is Standing.CURRENT
            case _:
                raise AssertionError(self.broker)

    async def caller(self) -> None:
        """One program that calls all the time."""
        wire = Wire(self.app.doors.url)
        try:
            while True:
                good = self.good()
                reply = await wire.call("GET", f"/here{DESKS[self.broker].call}")
                word = "cut off" if reply is None else f"{reply.status} {reply.ours or ''}".strip()
                self.answers.append(word)
                if good and self.good() and word != "200":
                    self.failed.append(word)
                await asyncio.sleep(self.pause)
        finally:
            await wire.close()

    async def watch(self) -> None:
        """Note each request to the token endpoint."""
        loop, seen = asyncio.get_running_loop(), self.count("token_posts")
        while True:
            found = self.count("token_posts")
            self.posts += [loop.time()] * (found - seen)
            seen = found
            await asyncio.sleep(0.02)

    async def run(self, seconds: float) -> None:
        """The fault from now on, under load, for so long; then the broker works again."""
        # What leaves the tokens as they are goes on and on; one answer that is lost is bad enough.
        self.simulator.faults.add(f"token-{self.fault}", 1 if self.fault in DONE else 1000)
        expected, before = EXPECTED.get((self.broker, self.fault), HEALS), self.count("token_posts")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                group.create_task(self.watch())
                for _ in range(CALLERS):
                    group.create_task(self.caller())
        self.simulator.faults.add("none")
        self.check_calls(expected)
        self.check_posts()
        if expected is not HEALS:
            await self.check_state(expected, before, seconds)
        elif self.fault != "hang":  # which has 30 s to end
            await self.check_healed(12 + min(seconds, MINUTE))  # the longest pause by then, at most 60 s

    def check_calls(self, expected: str) -> None:
        self.check("200" in self.answers, f"no call got through: {self.answers}")
        if expected is KEPT:
            self.check({"503 token-unavailable"} >= set(self.failed), f"sent elsewhere: {self.failed}")
        else:
            self.check(not self.failed, f"calls failed while the token was good: {self.failed}")

    def check_posts(self) -> None:
        self.check(bool(self.posts), "the endpoint was never asked")
        within = [at for at in self.posts if at < self.posts[0] + MINUTE]
        self.check(len(within) <= POSTS_A_MINUTE, f"{len(within)} posts within a minute")
        if self.fault in REFUSED:
            self.check_pauses()

    async def check_state(self, expected: str, before: int, seconds: float) -> None:
        """One post, and where an answer was lost another; after that none. What is kept is tried anew each minute."""
        lost = expected is LOGIN and self.fault not in DEAD
        async for _ in eventually(5):
            if expected == self.standing():
                break
        self.check(expected == self.standing(), f"it is {self.standing()}, not {expected}")
        await asyncio.sleep(1)
        posts, spent = self.count("token_posts") - before, self.count("reused_refresh_tokens")
        most = 1 + lost + (int(seconds / MINUTE) if expected is KEPT else 0)
        told = f"{posts} posts, {spent} of them with a token that was spent"
        self.check(1 + lost <= posts <= most and spent == lost, told)

    async def check_healed(self, seconds: float) -> None:
        """Without a login."""
        async for _ in eventually(seconds):
            if self.takes() and self.standing() == "fresh":
                break
        self.check(self.takes(), f"it is {self.standing()}: {self.app.keepers['ada'].standing().reason}")
        self.check(not self.count("reused_refresh_tokens"), "a token was posted twice")

    def check_pauses(self) -> None:
        """Each pause is at least half of 2 s, 4 s, 8 s…; what is in doubt is not even tried before it must be."""
        for number, (one, other) in enumerate(itertools.pairwise(self.posts), 1):
            least = min(2.0**number, 60.0) / 2 - 0.1
            self.check(other - one >= least, f"try {number + 1} came after {other - one:.1f} s")

    def check(self, good: bool, problem: str) -> None:
        if not good:
            self.problems.append(f"{self.where}: {problem}")


@dataclass
class Pace:
    """How long tokens live, in seconds: longer on a machine that leaves us less than `SHARE` at the start."""

    life: int
    ready: asyncio.Barrier
    began: tuple[float, float] = field(default_factory=lambda: (time.process_time(), time.monotonic()))

    async def settle(self) -> int:
        """The life for all, once all have started."""
        if await self.ready.wait() == 0:
            used, passed = time.process_time() - self.began[0], time.monotonic() - self.began[1]
            self.life = math.ceil(self.life * max(1.0, SHARE * passed / used))
        await self.ready.wait()
        return self.life


async def staged(directory: Path, broker: str, fault: str, pace: Pace) -> Scene:
    """One fault at one broker from the login on, while the access token lives and for a second after it."""
    desk = DESKS[broker]
    async with in_front_of(directory, broker, desk.login, knobs={"slow": 1.0}, **desk.mount) as (app, simulator):
        life = await pace.settle()
        assert isinstance(simulator, Questrade | Tradier | Alpaca)
        simulator.options.expires_in = life
        if desk.login == "code":
            begun = await app.operations.login_begin("here")
            await app.operations.login_complete("here", simulator.approve(begun["authorize_url"]))
        else:
            await app.operations.login("here", simulator.links().refresh_token)
        scene = Scene(broker, fault, app, simulator, pause=min(2.0, life / 12))
        async for _ in eventually(5):
            if scene.standing() == "fresh":
                break
        await scene.run(life + 1)
        await simulator.stop()  # or a request that hangs would keep the server from stopping
    return scene


async def all_of_them(directory: Path, life: int, figure: Callable[[object], None]) -> None:
    rows = list(itertools.product(DESKS, (*REFUSED, *DONE, *DEAD)))
    # So many servers in one process: each would have threads of its own for what waits for the disk.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * len(rows)))
    pace = Pace(life, asyncio.Barrier(len(rows)))
    homes = [directory / str(number) for number in range(len(rows))]
    for home in homes:
        home.mkdir(mode=0o700)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(staged(home, broker, fault, pace))
            for home, (broker, fault) in zip(homes, rows, strict=True)
        ]
    scenes = [task.result() for task in tasks]
    most = max(scenes, key=lambda scene: len(scene.posts))
    good = sum(answer == "200" for scene in scenes for answer in scene.answers)
    told = f"at most {len(most.posts)} posts ({most.where}) in {pace.life + 1} s"
    figure(f"{len(rows)} faults: {good} answers, {sum(len(scene.failed) for scene in scenes)} failed, {told}")
    problems = [problem for scene in scenes for problem in scene.problems]
    assert not problems, "\n".join(problems)


@pytest.mark.timing
@pytest.mark.timeout(180)
async def test_no_fault_of_a_token_endpoint_fails_a_call_that_has_a_token(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """15 faults at 3 brokers while a token of 6 s lives and for a second after; then those heal that can."""
    await all_of_them(state_dir, 6, figure)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_an_endpoint_that_fails_is_asked_six_times_in_the_first_minute(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """The same with tokens of six minutes, which are renewed after four: the whole first minute of a fault."""
    await all_of_them(state_dir, 360, figure)
