"""Alpaca's error bodies: `{"code": …, "message": …}`, the first three digits of the code being the status."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.simulator.listener import JSON, Answer

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 40010000, 40110000, 40310000, 40410000
UNPROCESSABLE, TOO_MANY = 42210001, 42910000


class Refused(Exception):
    """A call that Alpaca answers with an error. `extra` are members besides code and message."""

    def __init__(self, code: int, message: str, **extra: object) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.extra = extra

    @property
    def status(self) -> int:
        return self.code // 100_000

    def answer(self) -> Answer:
        return Answer(self.status, encoded({"code": self.code, "message": self.message, **self.extra}), JSON)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status or headers of its own. `document` None: no body."""

    document: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def encoded(document: object) -> bytes:
    """JSON without blanks."""
    return json.dumps(document, separators=(",", ":")).encode()


def missing(what: str) -> Refused:
    """404 for something that is not there."""
    return Refused(NOT_FOUND, f"{what} not found")


def unprocessable(message: str) -> Refused:
    """422, for values that make no sense."""
    return Refused(UNPROCESSABLE, message)


NOT_AUTHORIZED = Refused(UNAUTHORIZED, "request is not authorized").answer()
NOT_IN_SCOPE = Refused(UNAUTHORIZED, "token is not authorized for this scope").answer()
INVALID_CLIENT = Refused(UNAUTHORIZED, "invalid_client").answer()
NO_SUCH_PATH = Refused(NOT_FOUND, "endpoint not found").answer()
TOO_MANY_REQUESTS = Refused(TOO_MANY, "too many requests").answer()
INTERNAL = Refused(50010000, "internal server error occurred").answer()
# The gateway before the API writes no code.
GATEWAY_UNAUTHORIZED = Answer(401, b'{"message":"unauthorized."}', JSON)
GATEWAY_FORBIDDEN = Answer(403, b'{"message":"forbidden."}', JSON)
