"""The register of open streams, without a socket."""

from dataclasses import replace

import pytest

from proxy.audit.record import Traffic
from proxy.clock import Now, SystemClock
from proxy.errors import Refusal
from proxy.gate.clients import Client, Keyring
from proxy.gate.halt import Halt
from proxy.gate.rows import Row
from proxy.gate.scopes import ScopeTable
from proxy.metrics import Metrics
from proxy.streams import codes
from proxy.streams.register import OpenStream, Streams

ROW = Row("s", "GET", "/s", "read", websocket=True)
BOT = Client("bot", {"m": frozenset({"read"})})


class HandClock:
    """Moved by hand."""

    now_is = 0.0

    def now(self) -> Now:
        return Now(self.now_is, self.now_is)


class Halts:
    def __init__(self, *halts: Halt) -> None:
        self.all = halts


class Mount:
    """What a register asks of one."""

    def __init__(self, grant: str = "g") -> None:
        self.scopes, self.grant, self.table = frozenset({"read"}), grant, ScopeTable((ROW,), {})


class Rules:
    """What a register asks."""

    def __init__(self) -> None:
        self.mounts = {"m": Mount()}
        self.keyring = Keyring({"d": "bot"}, {"bot": BOT})
        self.halts = Halts()


@pytest.fixture(name="rules")
def _rules() -> Rules:
    return Rules()


@pytest.fixture(name="metrics")
def _metrics() -> Metrics:
    metrics = Metrics()
    metrics.allow(mounts=["m"], clients=[], templates=[], grants=[])
    return metrics


@pytest.fixture(name="streams")
def _streams(rules: Rules, metrics: Metrics) -> Streams:
    return Streams(SystemClock(), lambda: rules, metrics, per_client=2)


class Ended(list[tuple[int, str]]):
    """What a stream was told."""

    def stream(
        self, *, digest: str | None = "d", client: Client = BOT, grant: str = "g", kind: str = "socket"
    ) -> OpenStream:
        return OpenStream("m", client, ROW, digest, kind, 1.0, lambda *told: self.append(told), grant)  # type: ignore[arg-type]


def test_a_stream_that_may_go_on_goes_on(streams: Streams) -> None:
    """As long as it is within, and then it is forgotten."""
    ended = Ended()
    with streams.enter(ended.stream()):
        streams.look()
        assert ([], 1) == (ended, len(streams.all()))
    assert () == streams.all()


@pytest.mark.parametrize(
    ("change", "code"),
    [("key", 4401), ("client", 4401), ("mount", 4403), ("grant", 4403), ("halt", 4423)],
)
def test_a_stream_is_told_once_that_it_may_not_go_on(streams: Streams, rules: Rules, change: str, code: int) -> None:
    """With a code and a reason, however often it is looked at."""
    ended = Ended()
    with streams.enter(ended.stream()):
        match change:
            case "key":
                rules.keyring = Keyring({}, {"bot": BOT})
            case "client":
                rules.keyring = Keyring({"d": "other"}, {"other": Client("other", BOT.rights)})
            case "mount":
                rules.mounts = {}
            case "grant":
                rules.mounts = {"m": Mount("another")}
            case _:
                rules.halts = Halts(Halt(None, None, None, cancels_too=False, by="me", since=1.0))
        streams.look()
        streams.look()
    assert [code] == [told for told, _ in ended]
    assert ended[0][1]


async def test_one_that_cannot_be_ended_keeps_nobody_else_open(streams: Streams, rules: Rules) -> None:
    """A fault in one stream must not end the watch over all."""

    def faulty(*_told: object) -> None:
        raise ValueError

    ended = Ended()
    broken = ended.stream(digest="d")
    broken.end = faulty
    with streams.enter(broken), streams.enter(ended.stream()):
        rules.mounts = {}
        streams.look()
    with streams.enter(replace(broken, over=None)), streams.enter(ended.stream()):
        await streams.end_all(patience=0.01)
    assert [4403, 1001] == [code for code, _ in ended]


def test_a_halt_that_stood_before_is_no_reason(streams: Streams, rules: Rules) -> None:
    """Reading goes on under a halt."""
    rules.halts = Halts(Halt(None, None, None, cancels_too=False, by="me", since=1.0))
    ended = Ended()
    with streams.enter(ended.stream()):
        streams.look()
        rules.halts = Halts()
        streams.look()
    assert [] == ended


def test_a_key_has_so_many_sockets_and_any_number_of_http_streams(streams: Streams) -> None:
    """Those are calls in flight, and counted there."""
    ended = Ended()
    with (
        streams.enter(ended.stream()),
        streams.enter(ended.stream(kind="port")),
        streams.enter(ended.stream(kind="http")),
    ):
        with pytest.raises(Refusal, match="paced"), streams.enter(ended.stream()):
            raise AssertionError
        with streams.enter(ended.stream(digest="another")):
            pass
    with streams.enter(ended.stream()):
        pass


def test_strangers_have_a_limit_of_their_own(streams: Streams) -> None:
    """64, whoever they are, and at once."""
    entered = [streams.stranger() for _ in range(64)]
    for one in entered:
        one.__enter__().end = lambda *_: None
    with pytest.raises(Refusal, match="overloaded"), streams.stranger():
        raise AssertionError
    entered[0].__exit__(None, None, None)
    with streams.stranger():
        pass


def test_strangers_who_say_nothing_make_room(rules: Rules, metrics: Metrics) -> None:
    """Any program could hold all places: who has one for a second and is still silent loses it to the next."""
    clock, ended = HandClock(), Ended()
    streams = Streams(clock, lambda: rules, metrics)
    entered = [streams.stranger() for _ in range(64)]
    for number, one in enumerate(entered):
        stranger = one.__enter__()
        if number:  # the first one is not open yet
            stranger.end = lambda *told: ended.append(told)
    clock.now_is = 1.0
    newest = streams.stranger()
    newest.__enter__()
    assert [codes.LIMIT] == [code for code, _ in ended]
    entered[1].__exit__(None, None, None)
    for one in (newest, *entered[:1], *entered[2:]):
        one.__exit__(None, None, None)


async def test_a_stop_ends_all_and_waits_a_moment(streams: Streams) -> None:
    """Nobody comes in any more."""
    ended = Ended()
    with streams.enter(ended.stream()):
        await streams.end_all(patience=0.1)
    assert [(1001, "bearerd stops")] == ended
    with pytest.raises(Refusal, match="draining"), streams.enter(ended.stream()):
        raise AssertionError
    with pytest.raises(Refusal, match="draining"), streams.stranger():
        raise AssertionError


def test_messages_are_counted_while_they_pass(streams: Streams, metrics: Metrics) -> None:
    """By mount and direction, each once; the end by its code."""
    ended = Ended()
    stream = ended.stream()
    stream.traffic = Traffic(up=3, down=5)
    with streams.enter(stream):
        streams.measure()
        streams.measure()
        assert [
            {"mount": "m", "client": "bot", "kind": "socket", "open": 1, "since": 1.0, "up": 3, "down": 5}
        ] == streams.told()
        assert b'bearerd_streams_open{kind="socket",mount="m"} 1.0' in metrics.render()
        stream.traffic.down, stream.traffic.code = 6, codes.AGAIN
    told = metrics.render()
    assert b'bearerd_stream_messages_total{direction="up",mount="m"} 3.0' in told
    assert b'bearerd_stream_messages_total{direction="down",mount="m"} 6.0' in told
    assert b'bearerd_streams_ended_total{code="1012",kind="socket",mount="m"} 1.0' in told
    assert [] == streams.told()
