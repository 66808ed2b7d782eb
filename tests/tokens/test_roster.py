"""The roster: what is known of members without their tokens, and when to look at whom."""

import hashlib
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from proxy.brokers import builtin
from proxy.clock import Now
from proxy.gate.clients import grant_of
from proxy.secret import Secret
from proxy.tokens.answer import Terms
from proxy.tokens.grant import Grant, State
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.roster import NEVER, Member, Read, Reader, Roster
from proxy.tokens.schedule import plan

QUESTRADE = builtin("questrade")
LIVE, LOGIN = QUESTRADE.environments["live"], QUESTRADE.login()
NOW = Now(1_772_557_200.0, 5_000.0)
HOUR = 3600.0
FROM_LOGIN: dict[str, Any] = {"life_counts_from": "login", "refresh_token_life": 7 * HOUR}


def stored(**changes: Any) -> Grant:
    """A member's grant, an hour old."""
    grant = Grant(
        "questrade/ann",
        generation=7,
        lineage="x",
        issuer="questrade/live",
        login="refresh-token",
        refresh_token=Secret("refresh-token-of-ann"),
        access_token=Secret("access-token-of-ann"),
        refreshed=NOW.wall - HOUR,
        expires=NOW.wall - HOUR / 2,
        life=1800.0,
    )
    return replace(grant, **changes)


def read(grant: Grant, *, dead: str | None = None, quarantine: Quarantine | None = None, **terms: Any) -> Read:
    """The grant as its record tells it."""
    found = replace(Terms.of(QUESTRADE, LIVE, LOGIN), **terms)
    reader = Reader(found, "questrade/live", "refresh-token", quarantine or Quarantine())
    return reader.read(grant.name, grant.generation, grant.to_record(), dead, NOW)


def named(number: int, **changes: Any) -> Read:
    """One of many members."""
    found = Read(f"alpaca/user-{number}", 1, 0, State.FRESH, True, NOW.wall - HOUR)
    return replace(found, **changes)


def test_a_record_tells_how_a_member_stands_without_its_tokens() -> None:
    """Generation, epoch and age are taken over; the tokens are neither kept nor shown to anybody."""
    found = read(stored(epoch=3))

    assert Read("questrade/ann", 7, 3, State.FRESH, True, NOW.wall - HOUR) == found
    assert "token-of-ann" not in repr(found)


@pytest.mark.parametrize(
    ("state", "grant", "how"),
    [
        (State.NONE, stored(refresh_token=None, access_token=None), {}),
        (State.NONE, stored(issuer="questrade/practice"), {}),
        (State.NONE, stored(login="code"), {}),
        (State.FRESH, stored(issuer="", login=""), {}),
        (State.NEEDS_LOGIN, stored(), {"dead": hashlib.sha256(b"refresh-token-of-ann").hexdigest()}),
        (State.FRESH, stored(), {"dead": hashlib.sha256(b"an older token").hexdigest()}),
        (State.NEEDS_LOGIN, stored(logged_in=NOW.wall - 8 * HOUR), FROM_LOGIN),
        (State.FRESH, stored(logged_in=NOW.wall - 6 * HOUR), FROM_LOGIN),
        (State.QUARANTINED, stored(epoch=1), {"quarantine": Quarantine(2, "a copy", 1.0)}),
        (State.FRESH, stored(epoch=2), {"quarantine": Quarantine(2, "a copy", 1.0)}),
        (State.FRESH, stored(refresh_token=None, expires=NOW.wall + 1.0), {"quarantine": Quarantine(2, "a copy", 1.0)}),
        (State.NEEDS_LOGIN, stored(refresh_token=None), {}),
    ],
    ids=lambda value: value.value if isinstance(value, State) else "",
)  # fmt: skip
def test_each_state_that_a_record_can_tell(state: State, grant: Grant, how: dict[str, Any]) -> None:
    """As a keeper would see it: revoked or foreign, refused, at its end, doubtful, or well."""
    assert state is read(grant, **how).state


def test_an_end_that_nothing_puts_off_is_told() -> None:
    """So that somebody looks when it comes."""
    found = read(stored(logged_in=NOW.wall), **FROM_LOGIN)

    assert (NOW.boot + 7 * HOUR, math.inf) == (found.end, read(stored()).end)


def test_members_are_counted_by_grant_and_state() -> None:
    """Each change of state moves one, and a member that is gone is not counted."""
    roster = Roster()
    for number in range(5):
        roster.put(named(number))
    roster.put(named(1, state=State.NEEDS_LOGIN))
    roster.put(named(2, state=State.STOPPED))
    roster.put(replace(named(3), name="tradier/user-3", state=State.NONE))
    assert {State.FRESH: 3, State.NEEDS_LOGIN: 1, State.STOPPED: 1} == roster.counts("alpaca")
    assert ({State.NONE: 1}, {}) == (roster.counts("tradier"), roster.counts("questrade"))
    assert ["alpaca/user-1"] == [member.name for member in roster.troubled("alpaca")][:1]

    roster.put(named(1, generation=2))
    roster.remove("alpaca/user-2")
    roster.remove("alpaca/user-2")
    assert ({State.FRESH: 4}, []) == (roster.counts("alpaca"), list(roster.troubled("alpaca")))
    assert (5, None, "alpaca") == (len(roster), roster.get("alpaca/user-2"), grant_of("alpaca/user-0"))


def test_a_member_is_kept_alive_at_the_time_that_its_keeper_would_choose() -> None:
    """Twelve hours after its tokens were issued, give or take a tenth: always the same, and another on each server."""
    roster, other = Roster("server-1"), Roster("server-2")
    member = roster.put(named(1))
    grant = Grant(member.name, refreshed=member.refreshed)
    planned = plan(grant, NOW, lambda: roster.spread(member.name), 0.66).keep_alive

    assert planned == roster.keep_alive(member, NOW)
    assert planned != other.keep_alive(member, NOW)
    for kind in (named(1, state=State.NEEDS_LOGIN), named(1, renews=False)):
        assert math.inf == roster.keep_alive(roster.put(kind), NOW)


def test_keep_alives_are_spread_evenly() -> None:
    """Of those who logged in at one moment, no minute has many."""
    roster = Roster("a server")
    at = [roster.keep_alive(roster.put(named(number)), NOW) for number in range(10_000)]
    minutes = [int((each - min(at)) // 60) for each in at]

    assert 2.3 * HOUR < max(at) - min(at) <= 2.4 * HOUR
    assert max(minutes.count(minute) for minute in set(minutes)) < 3 * len(at) / 144


def due(roster: Roster, boot: float) -> list[str]:
    return [member.name.rpartition("-")[2] for member in roster.due(boot)]


def test_everybody_is_looked_at_once_when_it_is_time() -> None:
    """One that is put off comes later, one that is brought forward earlier, one that is gone never."""
    roster = Roster()
    members = [roster.put(named(number)) for number in range(6)]
    for member, at in zip(members, (10.2, 11.0, 12.0, 13.0, 14.0, math.inf), strict=True):
        roster.look(member, at)
    roster.look(members[1], 30.0)
    roster.look(members[3], 10.5)
    roster.remove(members[4].name)

    assert 11.0 == roster.next_look()
    assert ([], ["0", "3"], ["2"], [], ["1"], []) == tuple(
        due(roster, at) for at in (10.9, 11.0, 29.0, 29.5, 30.0, 99.0)
    )
    assert math.inf == roster.next_look()


def test_looks_that_are_taken_while_others_are_due_are_not_lost() -> None:
    """Whoever is put off in the middle of a round comes in the next one."""
    roster = Roster()
    for number in range(3):
        roster.look(roster.put(named(number)), 5.0)
    for member in roster.due(5.0):
        roster.look(member, 6.5)

    assert ([], ["0", "1", "2"]) == (due(roster, 6.0), due(roster, 7.0))


@pytest.mark.parametrize("seed", range(10))
def test_the_wheel_agrees_with_a_list(seed: int) -> None:
    """Whatever is planned, put off, brought forward and removed: who is due is who a plain list would name."""
    chance = random.Random(seed)  # noqa: S311
    roster, plans = Roster(), dict[str, float]()
    now = 0.0
    for _ in range(400):
        name = f"alpaca/user-{chance.randrange(30)}"
        if chance.random() < 0.1:
            roster.remove(name)
            plans.pop(name, None)
        elif chance.random() < 0.6:
            at = chance.choice([math.inf, now + chance.randrange(0, 50) + 0.5])
            roster.look(roster.put(replace(named(0), name=name)), at)
            plans[name] = at
        else:
            now += chance.randrange(0, 20)
            expected = {each for each, at in plans.items() if at != math.inf and math.ceil(at) <= now}
            assert expected == {member.name for member in roster.due(now)}
            plans |= dict.fromkeys(expected, math.inf)


def test_a_member_shows_its_name_and_state_only() -> None:
    """In logs and tracebacks."""
    assert "Member(alpaca/x, none, generation 0)" == repr(Member("alpaca/x"))
    assert NEVER == Member("alpaca/x").slot
