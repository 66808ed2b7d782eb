"""A value that nobody may print: tokens, client keys, key material."""

from collections.abc import Callable
from typing import NoReturn, Self

# The log redactor listens here: each secret that comes into being is known to it by value.
_listeners: list[Callable[[str], None]] = []


def on_new_secret(listener: Callable[[str], None]) -> None:
    """Call `listener` with the plain text of every `Secret` made from now on (see `logs.py`)."""
    if listener not in _listeners:
        _listeners.append(listener)


class Secret:
    """Text whose `repr`, `str` and `format` show nothing and which refuses to be pickled.

    `reveal()` is the only way to the text, so every use of a secret can be found by its name.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        for listener in _listeners:
            listener(text)

    def reveal(self) -> str:
        """The plain text. Hand it to the wire or the cipher, never to a message."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self
