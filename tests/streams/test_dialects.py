"""First frames, as pure texts."""

import json

import pytest

from proxy.brokers.definition import BEARER, Placement
from proxy.errors import KINDS, Refusal
from proxy.gate.clients import new_key
from proxy.relay.frames import Frame
from proxy.secret import Secret
from proxy.streams import dialects
from proxy.streams.dialects import ALPACA_TRADING, NOTHING, PLAIN, TRADIER, Shown, shown

KEY = new_key(lambda count: bytes(range(count))).reveal()
OTHER = new_key(lambda count: bytes(range(1, count + 1))).reveal()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"action": "auth", "key": "local", "secret": KEY}, KEY),
        ({"action": "auth", "key": KEY, "secret": ""}, KEY),
        ({"action": "auth", "key": KEY, "secret": "dummy"}, KEY),
        ({"action": "authenticate", "data": {"key_id": "local", "secret_key": KEY}}, KEY),
        ({"action": "authenticate", "data": {"key_id": "", "secret_key": ""}}, None),
        ({"action": "authenticate", "data": {"oauth_token": KEY}}, KEY),
        ({"action": "auth", "data": {"oauth_token": "dummy"}}, "dummy"),
        ({"action": "auth", "key": "id", "secret": "secret"}, "secret"),
        ({"action": "auth"}, None),
        ({"action": "auth", "key": 7, "secret": None, "data": [KEY]}, None),
    ],
    ids=["pair", "id-only", "dummy-secret", "legacy", "empty", "oauth", "dummy-oauth", "dummies", "bare", "odd"],
)
def test_every_form_of_alpacas_first_frame_is_read(document: dict[str, object], key: str | None, binary: bool) -> None:
    """Text or binary; a key of ours wherever it stands, else the secret."""
    text = json.dumps(document)
    assert Shown(asks=True, key=key) == shown(ALPACA_TRADING, text.encode() if binary else text)


@pytest.mark.parametrize(
    "frame",
    ['{"action":"listen","data":{"streams":["trade_updates"]}}', "no json", b"\x83\xa6action", "[1]", "", b"\xff", "7",
     '{"action":["auth"]}', "[" * 5000, f'{{"action":"listen","x":"{"y" * 9000}"}}'],
    ids=["listen", "text", "msgpack", "list", "empty", "bytes", "number", "odd-action", "deep", "long"],
)  # fmt: skip
def test_what_asks_for_nothing_shows_nothing(frame: Frame) -> None:
    """It is the broker's to understand."""
    assert NOTHING == shown(ALPACA_TRADING, frame) == shown(PLAIN, frame)


def test_a_long_frame_is_still_read_if_it_may_ask() -> None:
    """Padding hides no key."""
    document = {"action": "auth", "secret": KEY, "padding": "x" * 10_000}
    assert KEY == shown(ALPACA_TRADING, json.dumps(document)).key
    spelled = json.dumps(document).replace("auth", "\\u0061uth")
    assert KEY == shown(ALPACA_TRADING, spelled).key


@pytest.mark.parametrize(
    "frame",
    [
        f'{{"action":"auth","key":"{KEY}","secret":"{OTHER}"}}',
        f'{{"action":"auth","action":"listen","secret":"{KEY}"}}',
        f'{{"action":"auth","secret":"dummy","secret":"{KEY}"}}',
    ],
    ids=["two-keys", "two-actions", "two-secrets"],
)
def test_what_could_be_read_in_two_ways_is_refused(frame: str) -> None:
    """The broker may read the other one."""
    with pytest.raises(ValueError, match=r"two client keys|stands twice"):
        shown(ALPACA_TRADING, frame)


def test_tradiers_session_is_read() -> None:
    """From the frame of either socket; everything else is the broker's to understand."""
    for frame in ('{"symbols":["SPY"],"sessionid":"SID"}', b'{"events":["order"],"sessionid":"SID"}'):
        assert Shown(session="SID") == shown(TRADIER, frame)
    for frame in ('{"sessionid":""}', '{"sessionid":7}', "{}", "x"):
        assert NOTHING == shown(TRADIER, frame)


def test_the_broker_is_told_what_the_grant_is() -> None:
    """A token as OAuth, a pair as key and secret; as text, or as the binary that the client sends."""
    pair = Placement("headers", ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"))
    token = json.loads(dialects.authentication(BEARER, Secret("the-token")))
    both = json.loads(dialects.authentication(pair, Secret("the-key:the:secret"), binary=True))
    assert {"action": "authenticate", "data": {"oauth_token": "the-token"}} == token
    assert {"action": "auth", "key": "the-key", "secret": "the:secret"} == both
    assert isinstance(dialects.authentication(pair, Secret("a:b"), binary=True), bytes)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ('{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}', True),
        (b'{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}', False),
        ('{"stream":"authorization"}', False),
        ('{"stream":"listening","data":{"streams":[]}}', None),
        ('{"stream":"authorization","stream":"listening"}', None),
        ("x", None),
        (f'{{"stream":"authorization","n":{"1" * 5000}}}', None),
    ],
    ids=["yes", "no", "nothing", "other", "twice", "text", "huge-number"],
)
def test_what_the_broker_says_of_it_is_read(frame: Frame, said: bool | None) -> None:
    """Anything but a clear yes is a no."""
    assert said is dialects.authorized(frame)


def test_a_refusal_is_said_in_the_brokers_words() -> None:
    """Where it has such words, and only where an SDK should give up."""
    kinds = {kind.name: kind for kind in KINDS.values()}
    unknown, draining = kinds["unknown-client"], kinds["draining"]
    assert "unauthorized" == json.loads(dialects.refusal(ALPACA_TRADING, unknown, "no") or "")["data"]["status"]
    assert None is dialects.refusal(ALPACA_TRADING, draining, "no")
    assert {"error": 'bearerd: "no"'} == json.loads(dialects.refusal(TRADIER, draining, '"no"') or "")
    assert None is dialects.refusal(PLAIN, unknown, "no")


@pytest.mark.parametrize(
    "frame", [f"x {KEY}", f'{{"a":"{KEY}"}}', KEY.encode() + b"\xff"], ids=["text", "json", "bytes"]
)
def test_a_client_key_goes_on_to_no_broker(frame: Frame) -> None:
    """Whatever the dialect; what only looks like one may."""
    with pytest.raises(Refusal, match="bad-request"):
        dialects.keyless(frame)
    for fine in ("brd_", b"brd_x", KEY[:-1] + ("a" if KEY[-1] != "a" else "b")):
        assert fine == dialects.keyless(fine)
