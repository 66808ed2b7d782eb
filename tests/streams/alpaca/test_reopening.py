"""When a socket is tried again, and what is said in the end: a table, and one story of attempts."""

import pytest

from proxy.brokers.origin import Origin
from proxy.errors import Refusal
from proxy.outbound import Lost
from proxy.relay.dialling import HandshakeRefused
from proxy.relay.echo import Echoed
from proxy.relay.websocket import BrokerSocket
from proxy.streams.alpaca.feed import Rejected
from proxy.streams.alpaca.messages import error
from proxy.streams.alpaca.reopening import Attempts, Failure, Hopeless, Pace, verdict

PACE = Pace()


def refused(status: int) -> HandshakeRefused:
    return HandshakeRefused(status, [], b"", Origin("stream.example", 443))


def rejected(code: int) -> Rejected:
    socket: BrokerSocket = object.__new__(BrokerSocket)
    return Rejected(error(code, "the broker's words"), socket)


TABLE = [
    ("login-needed", Refusal("login-needed", "log in"), "final", 402, 4503),
    ("token-unavailable", Refusal("token-unavailable", "later"), "again", 500, 4503),
    ("unreachable", Refusal("broker-unreachable", "refused", status=502), "again", 500, 4502),
    ("timeout", Refusal("broker-timeout", "slow"), "again", 500, 4502),
    ("bad answer", Refusal("bad-answer", "odd"), "again", 500, 4502),
    ("ambiguous", Refusal("ambiguous-target", "odd"), "final", 500, 1011),
    ("handshake 401", refused(401), "doubt", 402, 4503),
    ("handshake 403", refused(403), "doubt", 402, 4503),
    ("handshake 404", refused(404), "final", 500, 4502),
    ("handshake 429", refused(429), "slot", 406, 4502),
    ("handshake 302", refused(302), "final", 500, 4502),
    ("handshake 500", refused(500), "again", 500, 4502),
    ("handshake 503", refused(503), "again", 500, 4502),
    ("message 401", rejected(401), "token", 401, 4503),
    ("message 402", rejected(402), "token", 402, 4503),
    ("message 404", rejected(404), "again", 404, 4502),
    ("message 406", rejected(406), "slot", 406, 4502),
    ("message 409", rejected(409), "final", 409, 4502),
    ("message 412", rejected(412), "final", 412, 4502),
    ("message 500", rejected(500), "again", 500, 4502),
    ("lost", Lost("reset"), "again", 500, 4502),
    ("echo", Echoed(), "final", 500, 1011),
]


@pytest.mark.parametrize(
    ("failure", "way", "said", "code"), [row[1:] for row in TABLE], ids=[row[0].replace(" ", "-") for row in TABLE]
)
def test_every_failure_has_a_way_and_a_last_word(failure: Failure, way: str, said: int, code: int) -> None:
    """Try again, wait for a place, renew the token, or give up: and an error of Alpaca's form with a close code."""
    found, hopeless = verdict(failure)

    assert (way, said, code) == (found, (hopeless.message or {})["code"], hopeless.code)
    assert len(hopeless.reason) > 0


def test_the_brokers_own_words_pass() -> None:
    """Ours are marked as ours."""
    assert {"T": "error", "code": 409, "msg": "the broker's words"} == verdict(rejected(409))[1].message
    ours = verdict(refused(404))[1].message
    assert ours is not None
    assert "bearerd" in ours["msg"]


def test_pauses_grow_and_differ() -> None:
    """None before the first attempt; then from half a second to eight, and never less than half of that."""
    sure, quick = Attempts(PACE, 0.0, opened=True), Attempts(PACE, 0.0, opened=True)
    assert [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0] == [sure.pause(1.0) for _ in range(7)]
    assert [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 4.0] == [quick.pause(0.0) for _ in range(7)]
    for _ in range(2000):
        assert 4.0 <= sure.pause(0.5) <= 8.0


def test_a_socket_that_was_good_is_missed_at_once() -> None:
    """One that was lost soon after is tried later and later, but never given up as long as it can be opened."""
    attempts = Attempts(PACE, 0.0, opened=False)
    assert [0.0, 0.5] == [attempts.pause(1.0) for _ in range(2)]
    attempts.succeeded()
    attempts.lost(100.0, 100.0 + PACE.steady - 0.1)
    assert 1.0 == attempts.pause(1.0)
    assert not attempts.failed(Lost("x"), 100.0 + PACE.again)
    attempts.succeeded()
    attempts.lost(200.0, 200.0 + PACE.steady)
    assert 0.0 == attempts.pause(1.0)


@pytest.mark.parametrize(
    ("opened", "failure", "last"),
    [
        (False, Lost("x"), PACE.first),
        (True, Lost("x"), PACE.again),
        (False, rejected(406), PACE.slot),
        (True, refused(429), PACE.slot),
    ],
    ids=["first", "again", "slot", "slot-again"],
)
def test_it_is_tried_for_so_long_and_no_longer(opened: bool, failure: Failure, last: float) -> None:
    """To the limit, and not at it: 10 s the first time, 60 s after a loss, 120 s for a place."""
    attempts = Attempts(PACE, 100.0, opened=opened)
    assert not attempts.failed(failure, 100.0 + last - 0.01)
    with pytest.raises(Hopeless):
        attempts.failed(failure, 100.0 + last)


def test_a_token_is_renewed_once_in_a_row() -> None:
    """At once, without a pause; a second refusal is final, unless there was a good socket between the two."""
    attempts = Attempts(PACE, 0.0, opened=False)
    attempts.pause(1.0)
    assert attempts.failed(rejected(402), 0.1)
    assert 0.0 == attempts.pause(1.0)
    with pytest.raises(Hopeless):
        attempts.failed(rejected(402), 0.2)

    attempts.succeeded()
    assert attempts.opened
    attempts.lost(1.0, 1.0 + PACE.steady)
    assert attempts.failed(rejected(401), 3.0)
    attempts.succeeded()
    attempts.lost(3.0, 3.1)
    with pytest.raises(Hopeless):
        attempts.failed(rejected(401), 3.1)


def test_a_handshake_that_is_refused_is_tried_once_more() -> None:
    """One 401 or 403 that says nothing of the token must not end a thousand clients; a second one in a row does."""
    attempts = Attempts(PACE, 0.0, opened=True)
    assert not attempts.failed(refused(403), 0.1)
    with pytest.raises(Hopeless):
        attempts.failed(refused(401), 0.2)
    attempts.succeeded()
    attempts.lost(1.0, 1.0 + PACE.steady)
    assert not attempts.failed(refused(401), 3.0)


def test_what_is_final_is_final_at_once() -> None:
    """No time helps against a feed that the plan does not have."""
    with pytest.raises(Hopeless, match=r"^the broker said 409$"):
        Attempts(PACE, 0.0, opened=True).failed(rejected(409), 0.0)
