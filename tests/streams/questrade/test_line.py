"""One socket at the broker: the port that is used for it, the token that goes there, and what may go wrong."""

import pytest

from proxy.brokers import Origin
from proxy.gate.rows import Row
from proxy.pacing import Pacing
from proxy.relay.headers import Raw
from proxy.streams import codes
from proxy.streams.questrade.line import Failed, Opener, Pulse, Source, refuses_token
from tests.lab import access_token
from tests.streams.portlab import PortLab, port_lab

NONE = frozenset[int]()


def opener(lab: PortLab, row: str = "notifications", patience: float = 5.0) -> tuple[Opener, Source]:
    table = lab.lab.mount.table
    rows: dict[str, Row] = {each.id: each for each in table.rows}
    source = Source("lab", lab.lab.mount.relay, "lab", rows[row], "bearerd/test", rows["time"])
    return Opener(lab.lab.gateway.pacing, Pulse(), patience=patience), source


async def test_a_port_is_asked_for_with_our_own_head() -> None:
    """The symbols of all, in order; nothing compressed; the token in the head of the call and in the first frame."""
    async with port_lab() as lab:
        ways, source = opener(lab, "quotes_stream")
        line = await ways.open(source, frozenset({9292, 8049}))
        assert "/v1/markets/quotes?ids=8049,9292&stream=true&mode=WebSocket" == lab.broker.calls[0]
        head = lab.lab.broker.visits[0]
        assert (["identity"], ["bearerd/test"]) == (head.all("Accept-Encoding"), head.all("User-Agent"))
        assert [access_token(1)] == lab.broker.tokens
        assert ('{"success": true}', frozenset({8049, 9292})) == (line.greeting, line.ids)
        assert "bearerd/test" == lab.broker.heads[0]["User-Agent"]
        await ways.show_up(source)
        assert "/v1/time" == lab.broker.calls[-1]
        line.socket.drop()


async def test_a_port_is_used_as_told_only_on_the_host_that_named_it() -> None:
    """The API moves between token answers; the same number elsewhere could be another stream. It is used once."""
    async with port_lab() as lab:
        ways, source = opener(lab)
        port = await lab.broker.port("/v1/notifications?mode=WebSocket")
        for host, calls in (("127.0.0.1", 0), ("127.0.0.2", 1)):
            ways.learn(NONE, port, Origin(host, 443))
            before = len(lab.broker.calls)
            line = await ways.open(source, NONE)
            assert calls == len(lab.broker.calls) - before
            line.socket.drop()
        line = await ways.open(source, NONE)
        assert (2, 3) == (len(lab.broker.calls), len(lab.broker.tokens))  # no token went to the wrong place
        line.socket.drop()


MOODS = [
    ("is silent", codes.UNREACHABLE, "the broker said nothing to the token within 0.1 s"),
    ("closes", 4321, "go away"),
    ("answers 403", codes.UNREACHABLE, "the broker answered 403 to the handshake"),
    ("echoes", codes.FAULT, "the broker's answer held our credential and was withheld"),
]


async def test_a_greeting_that_does_not_come_is_a_failure() -> None:
    """With the code and the reason that clients are told."""
    async with port_lab() as lab:
        ways, source = opener(lab, patience=0.1)
        for mood, code, reason in MOODS:
            lab.broker.mood = mood
            with pytest.raises(Failed) as failed:
                await ways.open(source, NONE)
            assert (code, reason, None) == (failed.value.code, failed.value.reason, failed.value.words)
    assert 0 == lab.lab.lent


async def test_our_own_calls_are_paced() -> None:
    """When the budget of the grant is spent, a client's socket is refused, and nothing is sent."""
    async with port_lab() as lab:
        ways, source = opener(lab)
        heard: Raw = [(b"Retry-After", b"60")]
        with await lab.lab.gateway.pacing.turn("bot", source.row, "lab") as turn:
            turn.answered(429, heard)
        with pytest.raises(Failed) as failed:
            await ways.open(source, NONE)
        assert codes.LIMIT == failed.value.code
    assert [] == lab.broker.calls
    assert isinstance(lab.lab.gateway.pacing, Pacing)


@pytest.mark.parametrize(
    ("words", "refuses"),
    [
        ('{"code":1017,"message":"Access token is invalid"}', True),
        ('{"code": 1017}', True),
        ('{"code":1016,"message":"1017"}', False),
        ('{"quotes":[{"symbolId":1017}]}', False),
        ("1017", False),
        ('{"code":1017' + " " * 5000 + "}", False),
    ],
    ids=["as seen", "short", "another code", "a symbol", "a number", "long"],
)
def test_what_speaks_of_the_token(words: str, refuses: bool) -> None:
    """A code in an object, and nothing that only looks like it."""
    assert refuses == refuses_token(words)
