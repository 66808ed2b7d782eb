"""Close codes that bearerd itself gives (RFC 6455, section 7.4), see `docs/streams.md`. A broker's own code passes."""

from proxy.errors import Kind

NORMAL = 1000
STOPPING = 1001  # the server stops
LIMIT = 1008  # a limit of ours: pings, a client that takes nothing, a first frame that did not come
TOO_LARGE = 1009  # a message over `limits.message_bytes`
FAULT = 1011  # a fault of ours, or the broker gave our credential back
AGAIN = 1012  # the broker's socket ended, and what may have been missed can't be said otherwise: connect again
UNKNOWN_CLIENT = 4401  # the key is unknown, has ended or was removed
NOT_ALLOWED = 4403  # the scope is no longer allowed, or the mount is gone
HALTED = 4423
UNREACHABLE = 4502  # the broker can't be reached, or refused the handshake
NO_TOKEN = 4503  # no token to open it with: a person must log in, or the store fails

MEANINGS = {
    NORMAL: "ended as the other end asked",
    STOPPING: "bearerd stops",
    LIMIT: "a limit of bearerd",
    TOO_LARGE: "a message is too large",
    FAULT: "a fault of bearerd, or the broker gave a credential back",
    AGAIN: "the broker's socket ended: connect again",
    UNKNOWN_CLIENT: "no client key that counts here",
    NOT_ALLOWED: "not allowed here, or not any more",
    HALTED: "halted",
    UNREACHABLE: "the broker could not be reached",
    NO_TOKEN: "no usable token: see bearerd status",
}

_BROKEN = 1002  # it broke the protocol: what the library itself says of such frames
_NEVER_SENT = (1004, 1005, 1006, 1015)  # they say that there was no code; none may stand in a frame
_LONGEST_REASON = 123  # bytes (RFC 6455, section 5.5)


def of_refusal(kind: Kind) -> int:
    """The close code that says what this refusal says."""
    match kind.name:
        case "unknown-client" | "cross-site" | "peer-denied" | "wrong-host":
            return UNKNOWN_CLIENT
        case "scope-denied" | "guard-denied" | "unknown-mount":
            return NOT_ALLOWED
        case "halted" | "store-silent":
            return HALTED
        case "login-needed" | "token-unavailable":
            return NO_TOKEN
        case "broker-unreachable" | "broker-timeout" | "bad-answer":
            return UNREACHABLE
        case "draining":
            return STOPPING
        case "paced" | "overloaded" | "bad-request" | "slow-request":
            return LIMIT
        case _:
            return FAULT


def passed_on(code: int | None) -> int:
    """What a client is told of a code that came from the broker: none at all, or one that can't be sent, is 1012."""
    return AGAIN if code is None or code in _NEVER_SENT else code


def returned(code: int | None) -> int:
    """What a broker is told of a code that came from a client."""
    if code is None:
        return NORMAL
    return STOPPING if code in _NEVER_SENT else code


def answered(code: int | None) -> int | None:
    """What a client is answered that closed with this code: the same, unless no frame may hold it."""
    return _BROKEN if code in _NEVER_SENT else code


def short(reason: str) -> str:
    """A reason that fits into a close frame."""
    return reason.encode("utf-8", "replace")[:_LONGEST_REASON].decode("utf-8", "ignore")
