"""When a market-data socket that could not be had is tried again, and what is said when it is given up. Decisions."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from proxy.errors import Refusal
from proxy.outbound import Lost
from proxy.relay.dialling import HandshakeRefused
from proxy.relay.echo import Echoed
from proxy.streams import codes
from proxy.streams.alpaca.feed import Rejected
from proxy.streams.alpaca.messages import Control, error

NO_PLACE = 406
OF_THE_TOKEN = (401, 402)
_PASSING = (404, 407, 500)  # error codes of the broker that say nothing about the next attempt

Failure = Refusal | HandshakeRefused | Rejected | Lost | Echoed
Way = Literal["final", "again", "slot", "token", "doubt"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long what may take; all in seconds.

    - `introduction`: for a client to say who it is (docs.alpaca.markets/docs/streaming-market-data: "a few seconds");
    - `opening`: for the broker, from the handshake to `authenticated`; `answer`: to confirm or refuse a change;
    - `first`: in which a socket must be open that nobody has had yet; `again`: one that was lost;
    - `slot`: both, while the broker says that there is one already: a dead one may hold the place for about 90 s
      (QuantConnect/Lean.Brokerages.Alpaca, PR 39);
    - `shortest` and `longest`: between two attempts;
    - `steady`: after which a socket counts as good: when it is lost, the next one is tried at once;
    - `linger`: how long a socket stays without clients, so that who connects again at once finds it;
    - `cool`: for which whoever comes after the end hears the same.
    """

    introduction: float = 10.0
    opening: float = 10.0
    answer: float = 10.0
    first: float = 10.0
    again: float = 60.0
    slot: float = 120.0
    shortest: float = 0.5
    longest: float = 8.0
    steady: float = 2.0
    linger: float = 5.0
    cool: float = 1.0


class Hopeless(Exception):
    """The broker's socket can't be had: what clients are told, if anything, and the code that they are closed with."""

    def __init__(self, message: Control | None, code: int, reason: str) -> None:
        super().__init__(reason)
        self.message = message
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Attempts:
    """The attempts at one socket, first and later ones. `since`: when there was none, in the clock of whoever asks.

    `opened`: there was a socket before. `renewed`: the broker refused the token, and a newer one was got. `doubted`: it
    refused the handshake in words that need not be about the token.
    """

    pace: Pace
    since: float
    opened: bool
    tried: int = 0
    renewed: bool = False
    doubted: bool = False

    def pause(self, chance: float) -> float:
        """Seconds before the next attempt: none before the first, then longer and longer. `chance`: from 0 to 1."""
        self.tried += 1
        if self.tried == 1:
            return 0.0
        longer = self.pace.shortest * 2.0 ** min(self.tried - 2, 10)
        return min(self.pace.longest, longer) * (0.5 + 0.5 * chance)

    def failed(self, failure: Failure, now: float) -> bool:
        """Take note of a failed attempt. True: the token must be renewed before the next. Raises `Hopeless`."""
        way, hopeless = verdict(failure)
        patience = self.pace.slot if way == "slot" else self.pace.again if self.opened else self.pace.first
        once_more = not {"token": self.renewed, "doubt": self.doubted}.get(way, way == "final")
        if not once_more or now - self.since >= patience:
            raise hopeless
        self.doubted = self.doubted or way == "doubt"
        if way != "token":
            return False
        self.renewed, self.tried = True, 0
        return True

    def succeeded(self) -> None:
        """The socket is open. Whether it is good is known when it has been so for a while."""
        self.opened = True

    def lost(self, began: float, now: float) -> None:
        """The socket that was open since `began` is gone. If it was good for a while, the next one is tried at once,
        and the token may be renewed again: a broker that greets and then refuses it must not cost renewal upon renewal.
        """
        self.since = now
        if now - began >= self.pace.steady:
            self.tried = 0
            self.renewed = self.doubted = False


def verdict(failure: Failure) -> tuple[Way, Hopeless]:
    """Whether to try again, and what to say if that is over."""
    match failure:
        case Refusal():
            code, detail = codes.of_refusal(failure.kind), failure.detail
            if failure.kind.name == "login-needed":
                return "final", Hopeless(error(402, f"auth failed (bearerd: {detail})"), code, detail)
            again: Way = "again" if code in (codes.UNREACHABLE, codes.NO_TOKEN) else "final"
            return again, Hopeless(_internal(detail), code, detail)
        case HandshakeRefused():
            return _status(failure.status)
        case Rejected():
            return _message(failure)
        case Lost():
            return "again", Hopeless(_internal(str(failure)), codes.UNREACHABLE, str(failure))
        case Echoed():
            return "final", Hopeless(_internal(codes.MEANINGS[codes.FAULT]), codes.FAULT, codes.MEANINGS[codes.FAULT])


def _status(status: int) -> tuple[Way, Hopeless]:
    """A handshake that was answered otherwise. Alpaca's 429 is a place that is taken, too (alpaca-py, `DataStream`)."""
    reason = f"the broker answered the handshake with {status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "doubt", Hopeless(error(402), codes.NO_TOKEN, reason)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "slot", Hopeless(error(NO_PLACE), codes.UNREACHABLE, reason)
    way: Way = "again" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "final"
    return way, Hopeless(_internal(reason), codes.UNREACHABLE, reason)


def _message(rejected: Rejected) -> tuple[Way, Hopeless]:
    """The broker's own words, which pass."""
    code, reason = rejected.code, str(rejected)
    if code in OF_THE_TOKEN:
        return "token", Hopeless(rejected.message, codes.NO_TOKEN, reason)
    way: Way = "slot" if code == NO_PLACE else "again" if code in _PASSING else "final"
    return way, Hopeless(rejected.message, codes.UNREACHABLE, reason)


def _internal(detail: str) -> Control:
    return error(500, f"internal error (bearerd: {detail})")
