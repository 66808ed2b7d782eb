"""What the store keeps for trails: one secret, and of each trail how far it goes."""

import asyncio

from proxy.audit.kept import EndNote, make_secret, mark_of, secret_of
from proxy.audit.trailfile import Mark
from tests.audit.trails import vault


async def test_the_first_server_makes_the_secret() -> None:
    """Servers that start at the same moment have the same one; who only looks makes none."""
    kept = vault()
    assert await secret_of(kept) is None
    made = await asyncio.gather(*(make_secret(kept) for _ in range(5)))
    assert [await secret_of(kept)] == list(dict.fromkeys(made))
    assert 32 == len(made[0])
    assert await make_secret(vault()) not in made


async def test_the_end_is_noted_and_only_grows() -> None:
    """With the time; what is no news costs no commit, and each trail has its own note."""
    kept = vault()
    note = EndNote(kept, "one")
    assert await note.read() is None
    assert await note.note(Mark(3, "aa", 1, 300), 9.0)
    commits = await kept.store.changes()
    assert await note.note(Mark(3, "aa", 1, 300), 10.0)
    assert commits == await kept.store.changes()
    assert Mark(3, "aa", 1, 300, 9.0) == await mark_of(kept, "one")
    assert await mark_of(kept, "two") is None
    assert Mark(3, "aa", 1, 300, 9.0) == await EndNote(kept, "one").read()


async def test_a_note_that_was_set_back_is_made_again() -> None:
    """The store was brought back from a backup under a server that runs: the next try succeeds."""
    kept = vault()
    note, other = EndNote(kept, "one"), EndNote(kept, "one")
    await note.note(Mark(3, "aa", 1, 300), 9.0)
    await other.read()
    await other.note(Mark(4, "bb", 1, 400), 9.5)
    assert not await note.note(Mark(5, "cc", 1, 500), 10.0)
    assert await note.note(Mark(5, "cc", 1, 500), 10.0)
    note.vault = None
    assert await note.note(Mark(6, "dd", 1, 600), 11.0), "nowhere"
    found = await mark_of(kept, "one")
    assert found is not None
    assert 5 == found.seq
