"""What a slot in the journal is worth against the row at a start: by generation, epoch, lineage and hash.

What comes of it is in `test_renewal_restart.py`; with peers, in `test_renewal_shared.py`.
"""

from dataclasses import asdict, replace
from typing import Any

import pytest

from proxy.tokens.grant import State
from proxy.tokens.journal import Intent
from tests.tokens.support import WALL, Home

BODY = b'{"refresh_token": "R-slot", "access_token": "A-slot", "api_server": "https://api01.iq.questrade.com/"}'


@pytest.mark.parametrize(
    ("stored", "slot", "adopted"),
    [
        ({}, {}, (2, "R-slot", 0)),
        ({}, {"generation": 6}, (7, "R-slot", 0)),
        ({"generation": 2}, {}, (2, "R1", 0)),
        ({}, {"lineage": "other"}, (1, "R1", 0)),
        ({}, {"token_hash": "ab"}, (1, "R1", 0)),
        ({}, {"login": True, "lineage": "login-2"}, (2, "R-slot", 0)),
        ({}, {"generation": 6, "epoch": 1}, (7, "R-slot", 1)),
        ({"generation": 2, "epoch": 1}, {"generation": 6}, (2, "R1", 1)),
        ({"generation": 2, "epoch": 1}, {"generation": 6, "epoch": 1}, (7, "R-slot", 1)),
    ],
    ids=[
        "of the stored token", "newer than the store", "committed", "other lineage", "other token", "a login",
        "newer, tried by an operator", "newer, but before an operator's decision", "newer, after it",
    ],
)  # fmt: skip
async def test_an_answer_is_adopted_if_it_descends_from_the_stored_token_or_is_newer(
    home: Home, stored: dict[str, int], slot: dict[str, Any], adopted: tuple[int, str, int]
) -> None:
    """It ends above both; what an operator has decided since a store was set back is not undone by it."""
    before = await home.stored()
    if stored:
        await home.book.write(replace(before, generation=stored.get("generation", 1), epoch=stored.get("epoch", 0)))
    intent = Intent("questrade", 1, before.lineage, before.token_hash, 1, False, WALL, "")
    home.journal.keep(await home.journal.begin(replace(intent, **slot)), 200, "", BODY, WALL)
    await home.restart()

    grant = await home.stored()
    assert adopted == (grant.generation, await home.stored_token(), grant.epoch)
    assert (State.FRESH, 0) == (home.state, home.journal.slots_in_use)


def test_an_intent_without_an_epoch_is_of_the_first() -> None:
    """Journals of before there were findings."""
    record = asdict(Intent("questrade", 1, "login-1", "ab", 1, False, WALL, "", epoch=3))
    del record["epoch"]

    assert 0 == Intent(**record).epoch
