"""Every refusal that a client can get from bearerd: status, code, what to do. Rendered here and nowhere else.

The broker's own answers are not in this file: they pass untouched. `Proxy-Status` tells the two apart.
"""

import json
import math
from dataclasses import dataclass
from http import HTTPStatus

PROBLEM_BASE = "https://bearerd.dev/problems/"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of refusal. `code` is what SDKs parse: status x 100 + a number of ours.

    `proxy_error` is the RFC 9209 error type that fits.
    """

    name: str
    code: int
    title: str
    proxy_error: str

    @property
    def status(self) -> int:
        return self.code // 100


def _kinds(*rows: tuple[str, int, str, str]) -> dict[str, Kind]:
    kinds = {f"{name}/{code // 100}": Kind(name, code, title, error) for name, code, title, error in rows}
    if len({kind.code for kind in kinds.values()}) != len(rows):
        raise AssertionError("two kinds of refusal share a code")
    return kinds


KINDS = _kinds(
    ("ambiguous-target", 40001, "The request target could be read in more than one way", "http_request_error"),
    ("bad-request", 40002, "The request is malformed", "http_request_error"),
    ("unknown-client", 40101, "No client key, or not one that is known here", "http_request_denied"),
    ("scope-denied", 40301, "No allowed scope covers this call", "http_request_denied"),
    ("guard-denied", 40302, "A guard does not allow this call", "http_request_denied"),
    ("halted", 40303, "Trading is halted", "http_request_denied"),
    ("cross-site", 40304, "Web pages may not call this address", "http_request_denied"),
    ("peer-denied", 40305, "This process may not call over this socket", "http_request_denied"),
    ("unknown-mount", 40401, "Nothing is mounted here", "http_request_denied"),
    ("slow-request", 40801, "The request took too long to arrive", "http_request_error"),
    ("body-too-large", 41301, "The request body is too large", "http_request_error"),
    ("expectation-failed", 41701, "Only `Expect: 100-continue` is understood", "http_request_error"),
    ("wrong-host", 42101, "This Host is not served here", "http_request_denied"),
    ("upgrade-required", 42601, "This call opens a WebSocket", "http_request_error"),
    ("paced", 42901, "Too many calls; nothing was sent", "http_request_denied"),
    ("head-too-large", 43101, "The request head is too large", "http_request_error"),
    ("outcome-unknown", 50001, "The call may or may not have reached the broker", "http_response_incomplete"),
    ("internal", 50002, "bearerd failed", "proxy_internal_error"),
    ("broker-unreachable", 50201, "The broker could not be reached", "destination_unavailable"),
    ("bad-answer", 50202, "The broker's answer is unusable", "http_protocol_error"),
    ("login-needed", 50301, "A person must log in again", "proxy_configuration_error"),
    ("token-unavailable", 50302, "No usable access token at the moment", "destination_unavailable"),
    ("draining", 50303, "bearerd is shutting down", "http_request_denied"),
    ("overloaded", 50304, "bearerd has too much to do", "connection_limit_reached"),
    ("broker-unreachable", 50305, "The broker could not be reached; nothing was sent", "destination_unavailable"),
    ("store-silent", 50306, "Nobody can say whether this is halted; nothing was sent", "destination_unavailable"),
    ("audit-unavailable", 50307, "The audit trail can't be written; nothing was sent", "proxy_internal_error"),
    ("broker-timeout", 50401, "The broker did not answer in time", "http_response_timeout"),
    ("http-version", 50501, "Only HTTP/1.1 is spoken here", "http_request_error"),
)


class Refusal(Exception):
    """A call that bearerd itself answers.

    `name` is a kind of `KINDS`; a name with two statuses needs `status`. `detail` is one sentence for a person and must
    never hold a secret or raw input; `fix` is the next command or config line; `retry_after` is in seconds and is given
    only where waiting helps and a repeat is harmless. `close` says that the connection must not be used again. `rule`
    names what decided, for the audit trail: a guard, a halt.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        status: int | None = None,
        fix: str | None = None,
        retry_after: float | None = None,
        close: bool = False,
        extra: dict[str, object] | None = None,
        rule: str | None = None,
    ) -> None:
        super().__init__(name, detail)
        self.kind = _find(name, status)
        self.detail = detail
        self.fix = fix
        self.retry_after = retry_after
        self.close = close
        self.extra = extra or {}
        self.rule = rule


def _find(name: str, status: int | None) -> Kind:
    found = [kind for kind in KINDS.values() if kind.name == name and status in (None, kind.status)]
    if len(found) != 1:
        raise LookupError(f"{name!r} with status {status} names {len(found)} kinds of refusal")
    return found[0]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A refusal, ready to be sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def spelled(self, *more: tuple[str, str]) -> bytes:
        """A whole answer as bytes. `more` are further headers."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        length = ("Content-Length", str(len(self.body)))
        lines += [f"{name}: {value}" for name, value in (*self.headers, length, *more)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


def render(refusal: Refusal, *, request_id: str, mount: str | None = None, client: str | None = None) -> Rendered:
    """`application/problem+json` (RFC 9457) that is also what broker SDKs parse: integer `code` and `message`."""
    kind = refusal.kind
    body: dict[str, object] = {
        "type": PROBLEM_BASE + kind.name,
        "title": kind.title,
        "status": kind.status,
        "detail": refusal.detail,
        "code": kind.code,
        "message": refusal.detail,
        "request_id": request_id,
    }
    optional = {"mount": mount, "client": client, "fix": refusal.fix}
    body |= {key: value for key, value in optional.items() if value is not None} | refusal.extra
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Server", "bearerd"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Request-Id", request_id),
        ("Proxy-Status", f'bearerd; error={kind.proxy_error}; details="{kind.name}"'),
    ]
    if kind.status == HTTPStatus.UNAUTHORIZED:
        # Never Basic: a browser would ask for it, cache it and replay it.
        headers.append(("WWW-Authenticate", 'Bearer realm="bearerd"'))
    if kind.status == HTTPStatus.UPGRADE_REQUIRED:
        headers += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    if refusal.retry_after is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(refusal.retry_after)))))
    if refusal.close:
        headers.append(("Connection", "close"))
    return Rendered(kind.status, tuple(headers), json.dumps(body).encode())
