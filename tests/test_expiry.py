"""When a person is told that something ends."""

from dataclasses import dataclass

import pytest

from proxy.expiry import EARLY, end_of, seconds_of, told_from, warnings

NOW = 1.8e9  # 2027-01-15 08:00 UTC
DAY = 86400.0


@dataclass(frozen=True)
class Key:
    client: str
    number: int
    created: float
    expires: float | None = None
    replaced: float | None = None

    @property
    def digest(self) -> str:
        return f"{self.client}{self.number}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 90 * DAY), ("24h", DAY), ("30m", 1800.0), ("45s", 45.0), ("2w", 14 * DAY), ("0s", 0.0)]
    + [(wrong, None) for wrong in ("", "d", "90", "-1d", "1.5h", "90 d", "٣d", "1y", "9999999999d", "2027-01-31")],
)
def test_a_length_of_time(text: str, seconds: float | None) -> None:
    """A number and a unit, or nothing."""
    assert seconds == seconds_of(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", NOW + 90 * DAY),
        ("2027-01-15", 1_800_057_600.0),
        ("2028-02-29", 1_835_481_600.0),
        ("2027-02-29", None),
        ("2027-1-5x", None),
        ("31.01.2027", None),
        ("9999-12-31", None),
        ("soon", None),
    ],
)
def test_an_end_is_a_length_of_time_or_the_end_of_a_day(text: str, moment: float | None) -> None:
    """The day is counted whole, in UTC."""
    assert moment == end_of(text, NOW)


def test_a_short_life_is_told_of_later() -> None:
    """In its last quarter, at most two weeks before."""
    assert (NOW + 76 * DAY, NOW + 3 * DAY) == (told_from(NOW, NOW + 90 * DAY), told_from(NOW, NOW + 4 * DAY))
    assert NOW == told_from(NOW + 5, NOW)


def told(*keys: Key, used: dict[str, float] | None = None, now: float = NOW) -> list[str]:
    return list(warnings(keys, (used or {}).get, now))


def test_keys_that_end_are_told_of_with_the_command_that_helps() -> None:
    """One line for one key; nothing for those that have long to live, or no end."""
    soon = Key("bot", 3, NOW - 80 * DAY, NOW + 10 * DAY)
    assert ["key 3 of client bot expires in 10d0h. To replace it: bearerd clients rotate bot --key 3"] == told(
        soon, Key("bot", 1, NOW), Key("bot", 2, NOW, NOW + 90 * DAY)
    )
    over = Key("bot", 3, NOW - 80 * DAY, NOW - DAY)
    assert ["key 3 of client bot expired 1d0h ago. To make a new one: bearerd clients add bot"] == told(over)
    assert [] == told(over, now=NOW - DAY + EARLY)


def test_many_keys_make_one_line_for_each_client() -> None:
    """An application may have a hundred thousand."""
    keys = [Key("web", number, NOW - 80 * DAY, NOW + number) for number in range(-5, 50_000)]
    assert [
        "49999 keys of client web expire soon, the first in 1 s: bearerd clients list web",
        "6 keys of client web have expired, the last 0 s ago: bearerd clients list web",
    ] == told(*keys)


def test_a_replaced_key_is_told_of_only_if_somebody_still_uses_it() -> None:
    """Rotation is the cure; whoever missed it is about to fail."""
    old = Key("bot", 1, NOW - 80 * DAY, NOW + 3600, NOW - 600)
    assert [] == told(old) == told(old, used={"bot1": NOW - 700}) == told(old, used={"bot1": NOW}, now=NOW + 3600)
    assert ["key 1 of client bot was replaced, ends in 1h00m and is still used (30 s ago)"] == told(
        old, used={"bot1": NOW - 30}
    )
