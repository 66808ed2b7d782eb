"""No web page may drive bearerd: Host, Origin and Sec-Fetch-Site, before anything else on every listener and path.

Listening on 127.0.0.1 keeps no page out. A page whose name was re-bound to 127.0.0.1 sends no Origin but its own
Host; a page elsewhere sends our Host but an Origin or Sec-Fetch-Site of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from proxy.errors import Refusal

# What a browser says of a redirect that it follows, where it says anything. A value more than these, or two: no.
_NAVIGATION = {b"sec-fetch-mode": {b"navigate"}, b"sec-fetch-dest": {b"document"}}
_AHEAD = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
# Of handshakes: languages are the person's, and the Fetch standard has these calls pass every cache.
_OF_BROWSERS = (b"accept-language", b"cache-control", b"cookie", b"pragma")
_AS_BROWSERS_DO = b"mozilla/"  # how all of them begin their User-Agent
_LOOKED_AT = frozenset((b"host", b"origin", b"sec-fetch-site"))
_MOST_NAMES, _LONGEST_NAME = 1024, 64
_PORT = re.compile(rb":[0-9]{1,5}")


class Hosts:
    """The Host values that are ours.

    Names are exact, with the port that a client would send: `127.0.0.1:8080`, `[::1]:8080`, `bearerd.internal`.
    `name:*` takes any port, and none.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        lowered = [name.lower().encode() for name in self._names]
        self._exact = frozenset(name for name in lowered if not name.endswith(b":*"))
        self._any_port = tuple(name[:-2] for name in lowered if name.endswith(b":*"))

    def allow(self, host: bytes) -> bool:
        """Whether a raw Host value is ours. Bytes are compared, and nothing is parsed."""
        host = host.lower()
        if host in self._exact:
            return True
        ports = (host[len(name) :] for name in self._any_port if host.startswith(name))
        return any(not port or _PORT.fullmatch(port) for port in ports)

    def __repr__(self) -> str:
        return f"Hosts({list(self._names)!r})"


def check(
    method: str,
    headers: Sequence[tuple[bytes, bytes]],
    hosts: Hosts | None,
    *,
    own_origin: str | None = None,
    scheme: str | None = None,
) -> None:
    """Raise `Refusal` `wrong-host` (421) or `cross-site` (403) unless the call can only come from a program.

    `hosts` is None on a unix socket, which no browser reaches. `own_origin` is for a listener that serves pages (the
    console): `http://127.0.0.1:8081`, whose own pages then pass. `scheme` (`http`, `https`) is for a listener whose
    callers all have to show a key: a WebSocket's handshake may then name as its Origin the address that it calls.
    """
    if _of_a_program(headers, hosts):
        return
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    if hosts is not None:
        _check_host(found.get(b"host", []), hosts)
    if any(name.startswith(b"access-control-request-") for name in found):
        raise _cross_site("A browser asks for permission to call across origins (a preflight).")
    for origin in found.get(b"origin", []):
        if own_origin is not None and origin == own_origin.encode():
            continue
        if scheme is None or not _names_itself(found, scheme):
            raise _cross_site("The call carries the Origin of a web page.")
    _check_site(method, found.get(b"sec-fetch-site", []), serves_pages=own_origin is not None)


class _Concerns(dict[bytes, bool]):
    """Whether there is something to look at in a header, by its name as it was spelled: clients send the same few."""

    def __missing__(self, name: bytes) -> bool:
        lowered = name.lower()
        concerns = lowered in _LOOKED_AT or lowered.startswith(b"access-control-request-")
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = concerns
        return concerns


_concerns = _Concerns()


def _of_a_program(headers: Sequence[tuple[bytes, bytes]], hosts: Hosts | None) -> bool:
    """Whether it is seen at once: one Host, which is ours, and nothing that a browser says."""
    host: bytes | None = None
    for name, value in headers:
        if _concerns[name]:
            if host is not None or name.lower() != b"host":
                return False
            host = value
    return hosts is None or (host is not None and hosts.allow(host.strip(b" \t")))


def _names_itself(found: Mapping[bytes, list[bytes]], scheme: str) -> bool:
    """Whether a handshake's Origin is the very address that it calls, as some libraries write it (websocket-client).

    A page has that origin only if it came from this address: we serve none that may run, so it would be one that
    another program left there. It could put no key into the head, and would have to know one for the first frame. And
    browsers give themselves away by what no page can take out: Firefox by Sec-Fetch-*, which Chromium leaves out of
    these calls, others by the person's languages, by what they tell caches, and by their name.
    """
    hosts, origins = found.get(b"host", []), found[b"origin"]
    return (
        [value.lower() for value in found.get(b"upgrade", [])] == [b"websocket"]
        and len(hosts) == 1
        and origins == [scheme.encode() + b"://" + hosts[0]]
        and not any(name.startswith(b"sec-fetch-") or name in _OF_BROWSERS for name in found)
        and not any(value.lower().startswith(_AS_BROWSERS_DO) for value in found.get(b"user-agent", []))
    )


def check_typed(headers: Iterable[tuple[bytes, bytes]], *, mutating: bool) -> None:
    """Raise `Refusal` if a browser's address bar is about to change something.

    An address that is opened from outside of the browser, in a mail say, may redirect here: the browser then says what
    it says of one that a person has typed. That reads to the person's own screen, and must do nothing else.
    """
    if mutating and any(name.lower() == b"sec-fetch-site" for name, _ in headers):
        raise _cross_site("A browser makes this call, and it would change something (Sec-Fetch-Site).")


def check_redirect(headers: Sequence[tuple[bytes, bytes]], hosts: Hosts | None) -> None:
    """Raise `Refusal` unless a GET can be a broker's redirect that a person's browser follows, or a program.

    The one call that may come from another site: it must be a navigation of a whole window, and no prefetch. What it
    brings is worth no more than its `state`.
    """
    found: dict[bytes, set[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), set()).add(value.strip(b" \t"))
    if hosts is not None:
        _check_host([value.strip(b" \t") for name, value in headers if name.lower() == b"host"], hosts)
    if b"origin" in found or any(name.startswith(b"access-control-request-") for name in found):
        raise _cross_site("A redirect carries no Origin; this call was made by a web page.")
    says = b"sec-fetch-site" in found
    if (says and b"sec-fetch-mode" not in found) or any(
        not found.get(name, set()) <= allowed for name, allowed in _NAVIGATION.items()
    ):
        raise _cross_site("A browser says that no person follows a redirect here (Sec-Fetch-Mode).")
    if not found.keys().isdisjoint(_AHEAD):
        raise _cross_site("A browser fetches the address ahead of time.")


def _check_host(values: list[bytes], hosts: Hosts) -> None:
    if len(values) != 1 or not hosts.allow(values[0]):
        raise Refusal(
            "wrong-host",
            "The Host header does not name an address that bearerd serves.",
            fix="call the address that `bearerd status` prints, or add the name to `allowed_hosts`",
        )


def _check_site(method: str, values: list[bytes], *, serves_pages: bool) -> None:
    if any(first != second for first, second in pairwise(values)):
        raise _cross_site("The call carries two different Sec-Fetch-Site headers.")
    for value in values[:1]:
        if value == b"same-origin" and serves_pages:
            continue
        if value == b"none" and method in ("GET", "HEAD"):  # typed into the address bar
            continue
        raise _cross_site("A browser says that a web page makes this call (Sec-Fetch-Site).")


def _cross_site(detail: str) -> Refusal:
    return Refusal("cross-site", detail, fix="call from a program; web pages cannot be allowed in")
