"""Sessions of the console: how they begin, what they keep, and how they end."""

from dataclasses import dataclass

import pytest

from proxy.console.session import IDLE, LIVELY, MOST, Pass, Session, Sessions


@dataclass
class Clock:
    """The loop's clock, moved by hand."""

    at: float = 100.0

    def now(self) -> float:
        return self.at


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="sessions")
def _sessions(clock: Clock) -> Sessions:
    return Sessions(clock.now)


def of(sessions: Sessions, session: Session) -> Session | None:
    return sessions.of(session.cookie.reveal())


def test_each_session_has_secrets_of_its_own(sessions: Sessions) -> None:
    """Nobody gets in with a part of a cookie, with none, or with what is no text that a browser sends."""
    one, other = sessions.begin(), sessions.begin()

    assert 4 == len({secret.reveal() for each in (one, other) for secret in (each.cookie, each.csrf)})
    assert (one, other) == (of(sessions, one), of(sessions, other))
    for wrong in ("", one.cookie.reveal()[:-1], one.csrf.reveal(), "\udcff", "é"):
        assert None is sessions.of(wrong)
    assert one.cookie.reveal() not in repr(one)


def test_a_session_ends_at_once(sessions: Sessions) -> None:
    """Its cookie opens nothing, and what it kept is gone; a second end is none."""
    session = sessions.begin()
    note, key = session.note("done"), session.keep_key({"key": "brd_secret", "client": "bot", "number": 1})
    sessions.end(session)
    sessions.end(session)

    assert (True, None) == (session.ended.is_set(), of(sessions, session))
    assert (None, None) == (session.noted(note), session.take_key(key))


def test_all_end_with_the_server(sessions: Sessions) -> None:
    """So does each stream that waits for it."""
    found = [sessions.begin() for _ in range(3)]
    sessions.end_all()
    assert all(each.ended.is_set() and of(sessions, each) is None for each in found)


def test_a_token_lets_in_once() -> None:
    """Then the next address has another; what was used is known, and nothing else is."""
    one = Pass("open-sesame")
    assert "open-sesame" == one.token == one.token
    assert [False, False, True, False] == [one.take(given) for given in ("", "open", "open-sesame", "open-sesame")]
    assert [True, False] == [one.was(given) for given in ("open-sesame", one.token)]
    assert "open-sesame" != one.token
    assert [False, True] == [one.take(given) for given in ("open-sesame", one.token)]


def test_a_token_may_let_in_again_and_again() -> None:
    """As somebody has asked for."""
    again = Pass("open-sesame", reusable=True)
    assert [True, True] == [again.take("open-sesame") for _ in range(2)]
    assert ("open-sesame", False) == (again.token, again.was("open-sesame"))


def test_too_many_end_the_one_that_is_longest_idle(sessions: Sessions, clock: Clock) -> None:
    """A person who opens link after link keeps the pages that are looked at."""
    found = []
    for _ in range(MOST):
        clock.at += 1
        found.append(sessions.begin())
    of(sessions, found[0])
    sessions.begin()

    assert [True, False] == [of(sessions, each) is not None for each in found[:2]]


def test_a_page_that_updates_itself_is_looked_at(sessions: Sessions, clock: Clock) -> None:
    """A wall screen asks for nothing, and is not the one that goes."""
    wall, other = sessions.begin(), sessions.begin()
    clock.at += 60
    of(sessions, other)
    wall.streams, wall.heard = 1, clock.at + 1
    for _ in range(MOST - 1):
        sessions.begin()

    assert [True, False] == [of(sessions, each) is not None for each in (wall, other)]


def test_an_idle_session_ends(sessions: Sessions, clock: Clock) -> None:
    """After twelve hours without a page, and not while one is open."""
    idle, used, watched = (sessions.begin() for _ in range(3))
    watched.streams = 1
    clock.at += IDLE - 1
    of(sessions, used)
    clock.at += 2

    assert [False, True, True] == [of(sessions, each) is not None for each in (idle, used, watched)]
    assert idle.ended.is_set()


def test_a_key_is_had_once_and_a_note_as_often_as_one_likes(sessions: Sessions) -> None:
    """The text of the key is no text until somebody takes it."""
    session = sessions.begin()
    name = session.keep_key({"key": "brd_secret", "client": "bot", "number": 1})
    note = session.note("done")

    assert "brd_secret" not in repr(session)
    made = session.take_key(name) or {}
    assert ("bot", "brd_secret") == (made["client"], made["key"].reveal())
    assert None is session.take_key(name)
    assert ["done", "done", None] == [session.noted(note), session.noted(note), session.noted("other")]


def test_the_same_key_is_kept_once(sessions: Sessions) -> None:
    """Somebody has clicked twice: both clicks lead to one page."""
    session = sessions.begin()
    made = {"key": "brd_secret", "client": "bot", "number": 1}
    names = [session.keep_key(made), session.keep_key(made)]
    assert names[0] == names[1]
    session.take_key(names[0])
    assert None is session.take_key(session.keep_key(made))


def test_little_is_kept(sessions: Sessions) -> None:
    """Of keys and notes that nobody fetches only the newest."""
    session = sessions.begin()
    names = [session.keep_key({"key": f"brd_{number}", "client": "bot", "number": number}) for number in range(20)]
    assert 8 == sum(session.take_key(name) is not None for name in names)


def test_a_browser_that_runs_scripts_is_known(sessions: Sessions, clock: Clock) -> None:
    """While it has a stream, and for a minute after its last."""
    session = sessions.begin()
    assert not session.runs_scripts(clock.at)
    session.streams, session.heard = 1, clock.at
    assert session.runs_scripts(clock.at + 2 * LIVELY)
    session.streams = 0
    assert (True, False) == (session.runs_scripts(clock.at + LIVELY - 1), session.runs_scripts(clock.at + LIVELY))
