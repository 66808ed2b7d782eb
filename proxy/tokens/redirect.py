"""The address to which a broker sends the browser back (RFC 6749, section 4.1.2), read strictly. Pure.

Nothing is repaired: a parameter that stands there twice has no value, and what is no plain address is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

LONGEST = 8192  # characters
_MOST_PARAMETERS = 32
_PORTS = {"http": 80, "https": 443}

Place = tuple[str, str, int, str]  # scheme, host, port, path


class Unreadable(ValueError):
    """Not such an address. The text is for a person and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect that came back. `place` is None if somebody gave no more than the query.

    Codes and states are in `_parameters`, which stay out of `repr`.
    """

    place: Place | None
    _parameters: tuple[tuple[str, str], ...] = field(repr=False)

    def one(self, name: str) -> str | None:
        """The parameter's value; None if it is missing. `Unreadable` if it is there more than once."""
        values = [value for given, value in self._parameters if given == name]
        if len(values) > 1:
            raise Unreadable(f"the address holds `{name}` more than once")
        return values[0] if values else None


def read(text: str) -> Redirect:
    """A whole address, or its query alone, with or without the question mark. Raises `Unreadable`."""
    text = text.strip()
    # urlsplit would take line breaks and tabs out without a word.
    if not text or len(text) > LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise Unreadable("that is no address: it is empty, too long, or holds a space, a line break or the like")
    where, query = None, text.removeprefix("?")
    if "://" in text.partition("?")[0]:
        where, query = place(text), text.partition("#")[0].partition("?")[2]
    try:
        found = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise Unreadable("the part after the question mark cannot be read") from None
    return Redirect(where, tuple(found))


def place(address: str) -> Place:
    """Where an address leads, without query and fragment; an empty path is `/`. Raises `Unreadable`."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise Unreadable("that is no address of the web") from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise Unreadable("that is no address of the web, or it names a user")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path or "/"


def of_one_origin(issuer: str, addresses: Iterable[str | None]) -> bool:
    """Whether `issuer` (RFC 9207) has scheme, host and port in common with one of a login's own addresses."""
    try:
        return place(issuer)[:3] in {place(address)[:3] for address in addresses if address is not None}
    except Unreadable:
        return False
