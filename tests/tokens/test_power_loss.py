"""The power goes in the middle of a rotation: at every moment, and whatever it leaves of what was not synced.

A kill keeps what was written; here any part of it may be missing, chunk by chunk and sector by sector, in any order.
Whatever is left: it opens, it holds {old} or {new}, nothing is posted but the newest token that is durable, an answer
that was durable is taken up without a post, and an intent without one is told as uncertain.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence

import pytest

from proxy.store import WrongKey
from proxy.store.disk import MemoryDisk
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant, State
from proxy.tokens.journal import Found, Intent, Journal
from tests.tokens.powerloss import EDGES, EVERY, KEY, Cut, Scene, in_virtual_time, left_by, move_in, settle_in
from tests.tokens.support import JOURNAL, LIFE, MINUTE, WALL, Home, ScriptedBroker

SOON = LIFE * 0.66 + 3
LOST = "the answer to a token request was lost"
Figure = Callable[[object], None]


class Judge:
    """Looks at every disk that one cut may leave, and lets a new process live on each that differs for it."""

    def __init__(self, scene: Scene, cut: Cut) -> None:
        self.scene, self.cut = scene, cut
        self.sealer = Sealer(KEY, cut.store.store_id)
        self.states = 0
        self.seen: dict[object, tuple[MemoryDisk, list[Found]]] = {}
        self.stored: dict[str, Grant] = {}
        self.dead: set[str] = set()  # grants whose token the store knows to be dead

    async def look(self, tears: Sequence[int], torn: int) -> None:
        """Open each of them, and keep one of each kind that a new process can tell apart."""
        vault = Vault(self.cut.store, self.sealer)
        for name in self.scene.brokers:
            book = Book(name, vault)
            stored = await book.read()
            assert stored is not None
            self.stored[name] = stored
            if await book.verdict(stored.token_hash):
                self.dead.add(name)
        for disk in left_by(self.cut, tears, torn):
            self.states += 1
            journal = await Journal.open(JOURNAL, self.sealer, files=disk)
            assert self.cut.told <= journal.commit <= await self.cut.store.changes()
            found = journal.found()
            for name in self.scene.brokers:
                self._judge(name, [item for item in found if item.intent.grant == name])
            self.seen.setdefault((journal.slots, *_kinds(found)), (disk.after_kill(), found))

    def _judge(self, name: str, mine: Sequence[Found]) -> None:
        stored = self.stored[name]
        # F4: what is torn is not taken, and nothing else is taken for it.
        assert all(item.answer is None or item.answer.body in self.scene.brokers[name].sent for item in mine)
        # I2, I8: what was handed out is durable.
        assert self.cut.served[name] <= newest(stored, mine)
        # I1: what was posted, and is not replaced by something newer, has its intent, or its verdict.
        if (revealed(stored),) == self.cut.posted[name][-1:]:
            assert name in self.dead or stored.token_hash in {item.intent.token_hash for item in mine}

    async def live_on(self, disk: MemoryDisk, found: Sequence[Found]) -> None:
        """A new process on that disk: judged at its start, and again when its old tokens have run out."""
        brokers = {name: ScriptedBroker(issued=issued) for name, issued in self.cut.issued.items()}
        homes = settle_in(list(brokers), self.cut.store.reopened(), disk, brokers)
        lives = [
            Life(home, self.stored[home.name], [item for item in found if item.intent.grant == home.name], self.dead)
            for home in homes
        ]
        for life in lives:
            await move_in(life.home, homes[0])
            await life.starts()
        await asyncio.gather(*(home.keep_calling(LIFE + 5 * MINUTE, every=5 * MINUTE) for home in homes))
        for life in lives:
            await life.goes_on(self.cut.issued[life.home.name])
            await life.home.keeper.close()
        await homes[0].journal.close()


class Life:
    """What must become of one grant after a power loss, by what store and journal have of it."""

    def __init__(self, home: Home, stored: Grant, mine: Sequence[Found], dead: Collection[str]) -> None:
        self.home = home
        self.newest = newest(stored, mine)
        current = [item for item in mine if item.intent.token_hash == stored.token_hash] * (
            self.newest == stored.generation
        )
        self.dead = (home.name in dead and self.newest == stored.generation) or any(item.answer for item in current)
        self.in_doubt = bool(current) and not self.dead

    async def starts(self) -> None:
        """Whatever is durable is in the store by now, without a post."""
        home = self.home
        assert [] == home.endpoint.posts
        assert self.newest == (await home.stored()).generation == home.keeper.standing().generation
        assert (self.dead, self.in_doubt) == (home.state is State.NEEDS_LOGIN, home.state is State.UNCERTAIN)

    async def goes_on(self, issued: int) -> None:
        """Hours later. `issued` is what the broker had issued when the power went."""
        home, posts = self.home, [token for _, token in self.home.endpoint.posts]
        assert len(set(posts)) == len(posts)
        assert self.dead or f"R{self.newest}" == posts[0]
        if self.newest == issued and not self.dead:
            assert f"A{home.endpoint.issued}" == await home.call()
        else:
            # F2, the one window: the one try of the old token shows it, and a person is told.
            assert (int(self.in_doubt), State.NEEDS_LOGIN) == (len(posts), home.state)
            assert LOST in home.reason


def newest(stored: Grant, mine: Sequence[Found]) -> int:
    """The newest generation that store or journal has."""
    kept = (item.intent.generation + 1 for item in mine if item.answer is not None and item.answer.status == 200)
    return max(stored.generation, *kept, 0)


def revealed(grant: Grant) -> str:
    return grant.refresh_token.reveal() if grant.refresh_token else ""


def _kinds(found: Sequence[Found]) -> list[object]:
    kinds = [
        (item.intent.grant, item.intent.generation, item.intent.token_hash, item.answer and item.answer.body)
        for item in found
    ]
    return sorted(kinds, key=repr)


def judged(
    names: Sequence[str], act: Callable[[Scene], Awaitable[None]], *, tears: Sequence[int] = EDGES, torn: int = 1
) -> str:
    """Let `act` happen, cut it everywhere, judge all that may be left. The figures, for the summary."""

    async def perform() -> tuple[Scene, list[Cut]]:
        scene = Scene(names)
        await scene.open()
        await act(scene)
        return scene, await scene.close()

    scene, cuts = in_virtual_time(perform())
    figures: Counter[str] = Counter()
    for cut in cuts:
        judge = Judge(scene, cut)
        in_virtual_time(judge.look(tears, torn))
        for disk, found in judge.seen.values():
            in_virtual_time(judge.live_on(disk, found), start=cut.time)
        figures += Counter(moments=1, disks=judge.states, lives=len(judge.seen))
    return ", ".join(f"{count} {name}" for name, count in figures.items())


async def rotate(scene: Scene) -> None:
    """All grants at once; then the journal is told of the commits."""
    for home in scene.homes:
        await home.call()  # a grant that nobody uses is not renewed
    await asyncio.sleep(SOON)
    await scene.tell()


def test_a_power_loss_at_any_moment_of_a_rotation_leaves_old_or_new(figure: Figure) -> None:
    """I1, I2, I8 and F1 to F4, for one rotation."""
    figure(judged(["questrade"], rotate))


async def lose_answers(scene: Scene) -> None:
    """One that the broker never saw, one whose token is spent; then it is known to be dead."""
    for home in scene.homes:
        home.endpoint.script.extend(["lost-before", "lost-after"])
    await asyncio.sleep(LIFE + 5 * MINUTE)


async def grow(scene: Scene) -> None:
    """A rotation that takes the slot at which the journal adds as many again."""
    scene.witness.watches = False
    journal = scene.homes[0].journal
    while journal.slots_in_use < journal.slots // 2:
        await journal.begin(Intent(f"other-{journal.slots_in_use}", 1, "", "", 1, False, WALL, ""))
    scene.witness.watches = True
    await rotate(scene)


async def rotate_twice(scene: Scene) -> None:
    """The second one finds what the first has left un-synced."""
    await rotate(scene)
    await rotate(scene)


ACTS = {"lost answers": lose_answers, "growth": grow, "two rotations": rotate_twice}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_power_loss_leaves_old_or_new_whatever_the_journal_is_doing(
    act: Callable[[Scene], Awaitable[None]], figure: Figure
) -> None:
    """Chunk by chunk: answers that never came, slots that are added, writes that an earlier rotation left behind."""
    figure(judged(["questrade"], act, torn=0))


def test_a_power_loss_that_hits_two_grants_leaves_old_or_new_of_both(figure: Figure) -> None:
    """Their writes share syncs, and either may be ahead."""
    figure(judged(["one", "two"], rotate, torn=0))


@pytest.mark.soak
@pytest.mark.parametrize("act", [rotate, *ACTS.values()], ids=["rotation", *ACTS])
def test_every_way_to_tear_two_chunks_leaves_old_or_new(
    act: Callable[[Scene], Awaitable[None]], figure: Figure
) -> None:
    """Any of the 254 ways for one chunk, cuts between sectors for two at once."""
    figure(judged(["questrade"], act, tears=EVERY, torn=1))
    figure(judged(["questrade"], act, tears=EDGES, torn=2))


@pytest.mark.soak
@pytest.mark.parametrize("act", [rotate, lose_answers], ids=["rotation", "lost answers"])
def test_every_way_to_tear_what_two_grants_write_leaves_old_or_new(
    act: Callable[[Scene], Awaitable[None]], figure: Figure
) -> None:
    """As above, with the answers of both on their way to the disk."""
    figure(judged(["one", "two"], act, tears=EDGES, torn=1))


NEW_KEY = b"n" * 32


async def change_keys(scene: Scene) -> list[Cut]:
    """The journal gets another key while it holds an answer that the store has not taken; the moments of that."""
    home = scene.homes[0]
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    scene.witness.cuts.clear()
    await home.journal.reseal(Sealer(NEW_KEY, scene.store.store_id))
    cuts = list(scene.witness.cuts)
    home.store.failure = None
    await asyncio.sleep(MINUTE)
    return cuts


async def answers_left(cut: Cut) -> list[bytes | None]:
    """The answer that is found in each disk, under whichever key it opens."""
    left: list[bytes | None] = []
    for disk in left_by(cut, EDGES, 1):
        try:
            journal = await Journal.open(JOURNAL, Sealer(KEY, cut.store.store_id), files=disk)
        except WrongKey:
            journal = await Journal.open(JOURNAL, Sealer(NEW_KEY, cut.store.store_id), files=disk)
        left.extend(item.answer.body if item.answer else None for item in journal.found())
    return left


async def test_a_power_loss_while_the_journal_gets_another_key_leaves_it_under_one_of_the_two(figure: Figure) -> None:
    """With the one copy of an answer in it."""
    scene = Scene(["questrade"])
    await scene.open()
    cuts = await change_keys(scene)
    await scene.close()
    left = [each for cut in cuts for each in await answers_left(cut)]

    figure(f"{len(cuts)} moments, {len(left)} disks")
    assert {"before replace", "replace"} < {cut.name for cut in cuts}
    assert {body for body in scene.brokers["questrade"].sent if b"R2" in body} == set(left)
