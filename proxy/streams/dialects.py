"""First frames: what a client shows in them, and what a broker is told instead. Pure: bytes and text in and out.

Alpaca's trading socket (docs/websocket-streaming): `{"action":"auth","key":…,"secret":…}`,
`{"action":"authenticate","data":{"key_id":…,"secret_key":…}}` or, with OAuth, `{"action":"authenticate","data":
{"oauth_token":…}}`; the SDKs mix them, and send JSON as text or as binary. Tradier (docs/reference/streaming): the id
of a session that was asked for over HTTP, in every frame.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from proxy.brokers.definition import Placement
from proxy.errors import Kind, Refusal
from proxy.gate.clients import KEY_PREFIX, key_fault
from proxy.relay.frames import Frame
from proxy.secret import Secret

PLAIN, ALPACA_TRADING, TRADIER = "plain", "alpaca-trading", "tradier"
LATE = frozenset((ALPACA_TRADING, TRADIER))  # where the first frame may say who it is
LONGEST = 8192  # bytes of a frame that is looked into for an authentication

_PAIR = 2
_ACTIONS = ("auth", "authenticate")
_KEYS = ("secret", "secret_key", "oauth_token", "key", "key_id")  # the secret says who it is, the id need not
_PREFIX = KEY_PREFIX.encode()
_KEY = re.compile(rf"{KEY_PREFIX}[0-9A-Za-z]{{49}}")
Whole = TypeVar("Whole", bound=Frame)
_UNAUTHORIZED = '{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}'


@dataclass(frozen=True, slots=True)
class Shown:
    """What a frame shows: that it asks to be let in (`asks`), with which `key` (None: it holds none), and a session's
    id (Tradier).
    """

    asks: bool = False
    key: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)


NOTHING = Shown()


def shown(dialect: str, frame: Frame) -> Shown:
    """What stands in a frame of a client. `ValueError`: two client keys, or a name twice."""
    if dialect == PLAIN:
        return NOTHING
    if len(frame) > LONGEST and dialect == ALPACA_TRADING:
        return NOTHING if not _may_ask(frame) else _alpaca(_document(frame))
    document = _document(frame)
    return _alpaca(document) if dialect == ALPACA_TRADING else _tradier(document)


def _may_ask(frame: Frame) -> bool:
    text = frame if isinstance(frame, str) else frame.decode("latin-1")
    return "auth" in text or "\\u" in text


def _document(frame: Frame) -> dict[str, Any] | None:
    try:
        found = json.loads(frame, object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class Twice(ValueError):
    """A name stands twice in an object: the broker may read the other one."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Twice("a name stands twice")
    return found


def _alpaca(document: dict[str, Any] | None) -> Shown:
    if document is None or document.get("action") not in _ACTIONS:
        return NOTHING
    inner = document.get("data")
    places = [document, *([inner] if isinstance(inner, dict) else [])]
    texts = [place[name] for name in _KEYS for place in places if isinstance(place.get(name), str) and place[name]]
    ours = list(dict.fromkeys(text for text in texts if text.startswith(KEY_PREFIX)))
    if len(ours) > 1:
        raise ValueError("two client keys that differ")
    return Shown(asks=True, key=next(iter([*ours, *texts]), None))


def _tradier(document: dict[str, Any] | None) -> Shown:
    session = document.get("sessionid") if document is not None else None
    return Shown(session=session) if isinstance(session, str) and session else NOTHING


def holds_key(frame: Frame) -> bool:
    """Whether a client key of ours stands in it."""
    text = frame if isinstance(frame, str) else frame.decode("latin-1") if _PREFIX in frame else ""
    return KEY_PREFIX in text and any(key_fault(found[0]) is None for found in _KEY.finditer(text))


def keyless(frame: Whole) -> Whole:
    """The same frame, if no client key of ours stands in it; else `Refusal`: it would go on to the broker."""
    if holds_key(frame):
        raise Refusal("bad-request", "A client key stands in a frame that would go on to the broker.")
    return frame


def authentication(placement: Placement, credential: Secret, *, binary: bool = False) -> Frame:
    """The first frame for Alpaca's trading socket: a token as `oauth_token`, a pair as key and secret."""
    text = credential.reveal()
    if placement.parts == _PAIR:
        key, _, secret = text.partition(":")
        document: dict[str, Any] = {"action": "auth", "key": key, "secret": secret}
    else:
        document = {"action": "authenticate", "data": {"oauth_token": text}}
    frame = json.dumps(document, separators=(",", ":"))
    return frame.encode() if binary else frame


def authorized(frame: Frame) -> bool | None:
    """What the broker says of it; None: the frame is about something else."""
    try:
        document = _document(frame)
    except ValueError:  # a name twice, or a number beyond all numbers
        return None
    if document is None or document.get("stream") != "authorization":
        return None
    data = document.get("data")
    return isinstance(data, dict) and data.get("status") == "authorized"


def refusal(dialect: str, kind: Kind, detail: str) -> str | None:
    """What a client is told in its broker's words, before its socket is closed; None where there are no such words."""
    if dialect == TRADIER:
        return json.dumps({"error": f"bearerd: {detail}"})
    if dialect == ALPACA_TRADING and kind.name in ("unknown-client", "scope-denied", "guard-denied", "bad-request"):
        return _UNAUTHORIZED  # SDKs give up when they hear it, so it is not said of what passes
    return None
