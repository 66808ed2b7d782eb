"""The registry of keepers: configured grants always, members on demand, and what the store says of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from proxy.audit.trail import Trail
from proxy.brokers import builtin
from proxy.clock import SystemClock
from proxy.custody import Custody
from proxy.grants import GrantSettings
from proxy.keepers import Keepers
from proxy.provenance import Provenance
from proxy.secret import Secret
from proxy.settings import Settings, read
from proxy.store import StoreError
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.grant import DAY, Grant, State, token_hash
from proxy.tokens.journal import Intent, Journal
from proxy.tokens.oauth import RawAnswer, Refresh, Wish
from tests.tokens.crowd import logged_in

QUESTRADE = builtin("questrade")
LIFE = 1800.0


@dataclass
class Desk:
    """A token endpoint that gives everybody the next token."""

    posts: list[str] = field(default_factory=list)

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        assert isinstance(wish, Refresh)
        self.posts.append(wish.token.reveal())
        fields = {
            "access_token": f"access-{len(self.posts)}",
            "refresh_token": f"{wish.token.reveal()}+",
            "api_server": "https://api01.iq.questrade.com/",
            "expires_in": LIFE,
        }
        raw = RawAnswer(200, "application/json", json.dumps(fields).encode())
        arrived(raw)
        return raw


@dataclass
class Home:
    """Keepers on a store in memory. `seen` is what metrics were told."""

    settings: Settings
    custody: Custody
    keepers: Keepers
    store: MemoryStore
    desk: Desk
    seen: list[tuple[str, str]] = field(default_factory=list)

    async def put(self, name: str, *, age: float = 0.0, generation: int = 1, **changes: object) -> Grant:
        """What a login elsewhere leaves in the store."""
        wall = SystemClock().now().wall
        tokens = (f"token-of-{name}-{generation}", f"access-of-{name}-{generation}")
        grant = replace(logged_in(name, tokens, wall - age, generation=generation), **changes)  # type: ignore[arg-type]
        assert await Book(name, self.custody.vault, "").write(grant)
        return grant

    async def told(self, since: int) -> None:
        """What the watcher says of what was committed."""
        changes = await self.store.changed(since)
        await self.keepers.look_again(changes.rows, changes.gone)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110  it happens in tasks of the keepers
                await asyncio.sleep(0.01)


def configured(*names: str, **changes: object) -> dict[str, GrantSettings]:
    login = QUESTRADE.login()
    live = replace(QUESTRADE.environments["live"], **changes)  # type: ignore[arg-type]
    return {name: GrantSettings(name, QUESTRADE, live, login, live.endpoints(login)) for name in names}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\nclients: none\n")
    return replace(read(file, {"HOME": str(tmp_path)}), grants=configured("questrade", "other"))


@pytest.fixture
async def home(settings: Settings) -> AsyncIterator[Home]:
    """Keepers that were not started."""
    store = MemoryStore()
    sealer = Sealer(b"k" * 32, store.store_id)
    journal = await Journal.open(Path("/state/journal"), sealer, files=MemoryDisk())
    vault = Vault(store, sealer)
    trail = Trail(Path("/state/audit"), vault, journal.install_id, files=MemoryDisk())
    custody = Custody(store, vault, journal, Provenance(vault, journal), trail)
    desk, seen = Desk(), list[tuple[str, str]]()
    keepers = Keepers(
        settings,
        custody,
        SystemClock(),
        endpoint_of=lambda _settings, _grant: desk,  # type: ignore[arg-type,return-value]
        observe=lambda grant, outcome: seen.append((grant, outcome)),
    )
    home = Home(settings, custody, keepers, store, desk, seen)
    yield home
    await keepers.close()
    await journal.close()


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[Keepers]:
    """Started, and with everything read."""
    home.keepers.take_over(home.settings, await home.keepers.new(home.settings))
    await home.keepers.settle()
    task = asyncio.get_running_loop().create_task(home.keepers.run())
    await home.until(lambda: not home.keepers.reading("questrade"))
    yield home.keepers
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()


async def test_it_is_a_mapping_of_configured_grants(home: Home) -> None:
    """Members are not in it, but their keepers are to be had by name."""
    await home.put("questrade/ann")
    async with running(home) as keepers:
        assert (["other", "questrade"], 2) == (sorted(keepers), len(keepers))
        assert keepers["questrade"] is await keepers.of("questrade")
        ann = await keepers.of("questrade/ann")
        assert ("questrade/ann", State.FRESH) == (ann.name, ann.state)
        assert ann is await keepers.of("questrade/ann")
        assert 3 == len(list(keepers.here()))
        for name in ("nothing", "nothing/ann", "questrade/ANN"):
            with pytest.raises(LookupError):
                await keepers.of(name)


async def test_every_kind_of_record_is_read_at_a_start(home: Home) -> None:
    """Revoked, refused, of another login and well; one that cannot be opened is passed over and told of."""
    await home.put("questrade/well")
    refused = await home.put("questrade/refused")
    assert refused.refresh_token is not None
    await Book("questrade/refused", home.custody.vault, "").bury(token_hash(refused.refresh_token), "refused", 1.0)
    await home.put("questrade/revoked", refresh_token=None, access_token=None)
    await home.put("questrade/moved", issuer="questrade/practice")
    await home.put("other/well")
    await home.put("nobody/well")
    await home.store.swap("grant/questrade/torn", expected=0, sealed=b"?" * 5000)
    await home.custody.vault.put("grant/questrade/odd", expected=0, value={"nothing": "known"})
    async with running(home) as keepers:
        assert {State.FRESH: 1, State.NEEDS_LOGIN: 1, State.NONE: 2} == keepers.members("questrade")
        assert ({State.FRESH: 1}, {}) == (keepers.members("other"), keepers.members("nobody"))
        assert ["questrade/moved", "questrade/refused", "questrade/revoked", "questrade/well"] == (
            keepers.names("questrade")
        )
        told = keepers.told("questrade")
        assert (4, False) == (told["total"], told["reading"])
        assert [
            {"grant": "questrade/refused", "state": "needs-login", "fix": "bearerd login questrade/refused"}
        ] == told["needing"]


async def test_reading_waits_for_a_store_that_fails(home: Home) -> None:
    """And goes on when it is back."""
    await home.put("questrade/ann")
    home.keepers.take_over(home.settings, await home.keepers.new(home.settings))
    home.store.failure = StoreError("the database is restarting")
    task = asyncio.get_running_loop().create_task(home.keepers.run())
    await asyncio.sleep(0.1)
    assert home.keepers.reading("questrade")
    home.store.failure = None
    await home.until(lambda: not home.keepers.reading("questrade"))
    assert {State.FRESH: 1} == home.keepers.members("questrade")
    task.cancel()
    await asyncio.wait((task,))


async def test_what_others_commit_is_followed(home: Home) -> None:
    """A new member, a new generation, a verdict, and one that is taken back; configured grants likewise."""
    async with running(home) as keepers:
        await home.put("questrade/ann")
        await home.put("questrade")
        await home.put("nobody/ann")
        await home.told(0)
        assert ({State.FRESH: 1}, 1) == (keepers.members("questrade"), keepers["questrade"].grant.generation)

        resident = await keepers.of("questrade/bob")
        assert State.NONE is resident.state
        since = await home.store.changes()
        await home.put("questrade/bob")
        await home.told(since)
        assert (State.FRESH, 1) == (resident.state, resident.grant.generation)

        since = await home.store.changes()
        token = Secret("token-of-questrade/ann-1")
        await Book("questrade/ann", home.custody.vault, "").bury(token_hash(token), "refused", 1.0)
        await home.told(since)
        assert {State.FRESH: 1, State.NEEDS_LOGIN: 1} == keepers.members("questrade")
        since = await home.store.changes()
        await home.put("questrade/ann", generation=2)
        await home.told(since)
        assert {State.FRESH: 2} == keepers.members("questrade")
        assert [] == home.desk.posts


async def test_what_we_have_committed_ourselves_is_not_read_again(home: Home) -> None:
    """Most rows that change are our own doing."""
    await home.put("questrade", age=2 * LIFE)
    async with running(home) as keepers:
        await keepers["questrade"].take()
        reads = list[str]()
        reading = home.store.read

        async def counted(name: str) -> object:
            reads.append(name)
            return await reading(name)

        home.store.read = counted  # type: ignore[assignment,method-assign]
        await home.told(0)
        assert [] == reads


async def test_an_answer_that_a_kill_left_is_taken_up_by_its_member(home: Home) -> None:
    """Without a call: nothing of it may wait in the journal."""
    before = await home.put("questrade/ann", age=2 * LIFE)
    intent = Intent(
        "questrade/ann", 1, before.lineage, before.token_hash, 1, False, 1.0, "", "questrade/live/refresh-token"
    )
    slot = await home.custody.journal.begin(intent)
    answer = {"access_token": "new", "refresh_token": "newer", "api_server": "https://api01.iq.questrade.com/"}
    home.custody.journal.keep(slot, 200, "application/json", json.dumps(answer).encode(), SystemClock().now().wall)
    stray = await home.custody.journal.begin(replace(intent, grant="questrade/NOBODY"))
    async with running(home):
        stored = await Book("questrade/ann", home.custody.vault, "").read()
        assert stored is not None
        assert (2, Secret("newer")) == (stored.generation, stored.refresh_token)
        assert ([stray.use], []) == ([item.slot.use for item in home.custody.journal.found()], home.desk.posts)


async def answered(home: Home, name: str) -> None:
    """A kill left an answer of this member in the journal."""
    before = await home.put(name, age=2 * LIFE)
    intent = Intent(name, 1, before.lineage, before.token_hash, 1, False, 1.0, "", "questrade/live/refresh-token")
    slot = await home.custody.journal.begin(intent)
    answer = {"access_token": "new", "refresh_token": "newer", "api_server": "https://api01.iq.questrade.com/"}
    home.custody.journal.keep(slot, 200, "application/json", json.dumps(answer).encode(), SystemClock().now().wall)


async def test_a_start_does_not_wait_for_one_member_after_the_other(home: Home) -> None:
    """A store that can be read and not written takes none of the answers; each is waited for for seconds."""
    for number in range(5):
        await answered(home, f"questrade/user{number}")
    swapping, reading, reads = home.store.swap, home.store.read, set[str]()

    async def full(*_name: object, **_values: object) -> int | None:
        raise StoreError("the disk is full")

    async def counted(name: str) -> object:
        reads.add(name)
        return await reading(name)

    home.store.swap, home.store.read = full, counted  # type: ignore[assignment,method-assign]
    home.keepers.take_over(home.settings, await home.keepers.new(home.settings))
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(home.keepers.settle())
        await home.until(lambda: {f"grant/questrade/user{number}" for number in range(5)} <= reads)
        assert not settling.done()
        home.store.swap, home.store.read = swapping, reading  # type: ignore[method-assign]
    assert 5 == len(list(home.keepers.here())) - len(home.keepers)


async def test_a_start_goes_on_without_a_member_whose_record_is_damaged(home: Home) -> None:
    """Its answer waits in the journal; the others are not to wait with it."""
    await answered(home, "questrade/ann")
    await answered(home, "questrade/bob")
    await home.store.swap("grant/questrade/ann", expected=1, sealed=b"?" * 5000)
    async with running(home):
        assert ["questrade/ann"] == [item.intent.grant for item in home.custody.journal.found()]


async def test_metrics_hear_of_members_under_the_name_of_their_grant(home: Home) -> None:
    """Else there would be a series for each person."""
    await home.put("questrade/ann", age=2 * LIFE)
    async with running(home) as keepers:
        await (await keepers.of("questrade/ann")).take()
    assert [("questrade", "renewed")] == home.seen


async def test_a_quarantine_holds_members_too(home: Home) -> None:
    """Those that are here at once, the others as soon as they are read again."""
    await home.put("questrade/ann", age=2 * LIFE)
    await home.put("questrade/bob", age=2 * LIFE)
    async with running(home) as keepers:
        home.custody.quarantine.epoch, home.custody.quarantine.reason = 1, "a copy"
        keepers.recheck()
        await home.until(lambda: {State.QUARANTINED: 2} == keepers.members("questrade"))
        assert [] == home.desk.posts


async def test_what_a_person_decided_about_a_store_that_was_set_back_is_followed(home: Home) -> None:
    """Its generations count on from a lower one: configured grants, members that are here, and those that are not."""
    names = ("questrade", "questrade/ann", "questrade/bob")
    for name in names:
        for generation in (1, 2, 3):
            await home.put(name, generation=generation)
    async with running(home) as keepers:
        ann = await keepers.of("questrade/ann")
        home.custody.quarantine.epoch, home.custody.quarantine.reason = 1, "it was set back"
        keepers.recheck()
        await home.until(lambda: {State.QUARANTINED: 2} == keepers.members("questrade"))
        since = await home.store.changes()
        for name in names:
            assert await home.store.swap(f"grant/{name}", expected=3, sealed=None)
            await home.put(name, epoch=1)
        await home.told(since)
        assert {State.FRESH: 2} == keepers.members("questrade")
        for keeper in (keepers["questrade"], ann):
            assert (State.FRESH, 1, 1) == (keeper.state, keeper.grant.generation, keeper.grant.epoch)
        assert [] == home.desk.posts


async def test_members_that_a_set_back_store_has_lost_are_seen_to_be_quarantined(home: Home) -> None:
    """The roster knows a newer generation, which counts no longer."""
    for generation in (1, 2, 3):
        await home.put("questrade/bob", generation=generation)
    async with running(home) as keepers:
        assert await home.store.swap("grant/questrade/bob", expected=3, sealed=None)
        await home.put("questrade/bob")
        home.custody.quarantine.epoch, home.custody.quarantine.reason = 1, "it was set back"
        keepers.recheck()
        await home.until(lambda: {State.QUARANTINED: 1} == keepers.members("questrade"))


async def test_a_reload_brings_and_takes_grants_with_their_members(home: Home) -> None:
    """Members of a new grant are read; those of a dropped one are forgotten, and not renewed."""
    for name in ("questrade/ann", "new/bob", "other/cid"):
        await home.put(name)
    async with running(home) as keepers:
        resident = await keepers.of("other/cid")
        settings = replace(home.settings, grants=configured("questrade", "new", token_concurrency=2))
        dropped = keepers.take_over(settings, await keepers.new(settings))
        await keepers.drop(dropped)
        await home.until(lambda: not keepers.reading("new"))
        assert (["other"], ["new", "questrade"]) == ([keeper.name for keeper in dropped], sorted(keepers))
        assert ({State.FRESH: 1}, {}) == (keepers.members("new"), keepers.members("other"))
        assert resident not in list(keepers.here())
        with pytest.raises(LookupError):
            await keepers.of("other/cid")


async def test_overdue_members_are_renewed_by_themselves(home: Home) -> None:
    """Here by a real clock; how they are spread is shown in time that jumps."""
    await home.put("questrade/ann", age=DAY)
    async with running(home) as keepers:
        async with asyncio.timeout(5):
            member = await keepers.of("questrade/ann")
            while member.grant.generation < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert 1 == len(home.desk.posts)
