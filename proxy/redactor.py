"""Takes secrets out of text: by the names that values have, by the values themselves, and by what they look like.

Three passes, because each alone is blind somewhere: key names find what was logged under its own name, exact values
find a secret wherever it turns up, shapes find what was never known to us as a secret.
"""

import base64
import functools
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_SECRET_WORDS = frozenset(
    {
        "apikey", "authorization", "bearer", "code", "cookie", "cookies", "credential", "credentials", "kek", "key",
        "keys", "passphrase", "passwd", "password", "secret", "signature", "token", "tokens", "verifier",
    }
)  # fmt: skip
# `token_url` and `key_file` name where something is, not the thing itself.
_ABOUT_A_SECRET = frozenset({"age", "file", "id", "kind", "life", "name", "path", "state", "url"})
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_VALUE = r"[^\s\"'&,;}\]]+"
_SHAPES = (
    re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{6,}"),
    re.compile(
        r"(?i)((?:access[_-]?token|refresh[_-]?token|id[_-]?token|client[_-]?secret|api-?_?key|secret[_-]?key"
        r"|passw(?:or)?d|passphrase|code[_-]?verifier)[\"']?\s*(?:[=:]|%3D)\s*[\"']?)" + _VALUE
    ),
    re.compile(r"(?i)\b((?:token|secret|code|key)(?:=|%3D)[\"']?)" + _VALUE),
    re.compile(r"(?i)\b((?:set-)?cookie[\"']?\s*[=:]\s*)[^\r\n]+"),
    re.compile(r"()\bbrd_\w+"),
)
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")  # what no encoding changes (RFC 3986, section 2.3)
_MIN_LENGTH = 6
_MAX_VALUES = 4096
_SHORT = 200  # characters of a text that is remembered as clean
_MAX_PIECES = 32_768  # of such texts
_MAX_DEPTH = 6


class Redactor:
    """Takes secrets out of log events. `learn` makes a value known; the oldest of too many are forgotten."""

    def __init__(self, limit: int = _MAX_VALUES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        # value → its written forms, or None until the first line is logged after it became known: learning is on the
        # path of a request, looking for it is not.
        self._values: OrderedDict[str, tuple[str, ...] | None] = OrderedDict()
        self._new: list[str] = []
        # The first characters of a form → all forms that begin so: one pass over a line, however many are known.
        self._starts: dict[str, set[str]] = {}
        # Short texts in which nothing was found: most of what is logged are the same few names and words of ours, time
        # and again. And every piece of them that a form could begin with: they stay clean until one does.
        self._clean: set[str] = set()
        self._pieces: set[str] = set()
        self._learned = 0

    def learn(self, value: str) -> None:
        """Never show `value` again, plain, percent-encoded or in base64. Under 6 characters it is no secret."""
        if len(value) < _MIN_LENGTH:
            return
        with self._lock:
            if value in self._values:
                self._values.move_to_end(value)
                return
            self._values[value] = None
            self._new.append(value)
            self._learned += 1
            if len(self._values) > self._limit:
                _, forms = self._values.popitem(last=False)
                self._forget(forms or ())
            if len(self._new) > 2 * self._limit:
                self._new = [each for each, forms in self._values.items() if forms is None]

    def text(self, text: str) -> str:
        """`text` without known values and without what looks like a secret."""
        if not self._new and text in self._clean:
            return text
        learned = self._learned
        shown = self._without_values(text)
        for shape in _SHAPES:
            shown = shape.sub(rf"\g<1>{HIDDEN}", shown)
        if shown == text and len(text) <= _SHORT:
            self._remember(text, learned)
        return shown

    def _remember(self, text: str, learned: int) -> None:
        with self._lock:
            if learned != self._learned:
                return  # another thread has learned a value meanwhile, which may be in it
            if len(self._clean) >= _MAX_VALUES or len(self._pieces) >= _MAX_PIECES:
                self._clean.clear()
                self._pieces.clear()
            self._clean.add(text)
            self._pieces.update(_pieces(text))

    def value(self, value: Any, depth: int = 0) -> Any:
        """Any value as something that is safe to print: containers are searched, unknown objects become text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._container(value, depth + 1) if depth < _MAX_DEPTH else "…"
        if isinstance(value, bytes | bytearray):
            return self.text(value.decode("utf-8", "backslashreplace"))
        return self.text(value if isinstance(value, str) else _text_of(value))

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.named(str(name), item, depth) for name, item in value.items()}
        return [self.value(item, depth) for item in value]

    def named(self, name: str, value: Any, depth: int = 0) -> Any:
        """A value under its name. A number is shown even as `code` or `tokens`: it is a status or a count."""
        harmless = value is None or isinstance(value, bool | int | float)
        return HIDDEN if names_a_secret(name) and not harmless else self.value(value, depth)

    def _without_values(self, text: str) -> str:
        with self._lock:
            self._catch_up()
            starts = self._starts
            hits = [index for index, piece in enumerate(_pieces(text)) if piece in starts]
            shown: list[str] = []
            done = 0
            for index in hits:
                forms = starts[text[index : index + _MIN_LENGTH]]
                end = max((index + len(form) for form in forms if text.startswith(form, index)), default=0)
                # Overlapping finds go as one, or the tail of the longer would stay.
                if end > done:
                    shown += [text[done:index], HIDDEN] if index >= done else []
                    done = end
        return "".join(shown) + text[done:]

    def _catch_up(self) -> None:
        for value in self._new:
            if value in self._values and self._values[value] is None:
                forms = self._values[value] = _forms(value)
                for form in forms:
                    start = form[:_MIN_LENGTH]
                    self._starts.setdefault(start, set()).add(form)
                    if start in self._pieces:
                        self._clean.clear()
                        self._pieces.clear()
        self._new.clear()

    def _forget(self, forms: tuple[str, ...]) -> None:
        for form in forms:
            if alike := self._starts.get(form[:_MIN_LENGTH]):
                alike.discard(form)
                if not alike:
                    del self._starts[form[:_MIN_LENGTH]]


@functools.lru_cache(maxsize=1024)
def names_a_secret(name: str) -> bool:
    """True for `refreshToken`, `X-Api-Key` or `client_secret`; false for `token_url`."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and words[-1] not in _ABOUT_A_SECRET and not _SECRET_WORDS.isdisjoint(words)


def _pieces(text: str) -> list[str]:
    """Each run of characters in it that is as long as what forms are found by."""
    return [text[index : index + _MIN_LENGTH] for index in range(len(text) - _MIN_LENGTH + 1)]


def _forms(value: str) -> tuple[str, ...]:
    """The ways in which a value is written in URLs, JSON, headers and reprs."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = {value}
    if _PLAIN.fullmatch(value) is None:  # else it is the same everywhere, as most tokens are
        forms |= {quote(raw, safe=""), quote_plus(raw), quote(raw), json.dumps(value)[1:-1], repr(value)[1:-1]}
        forms |= {re.sub("%..", lambda match: match[0].lower(), form) for form in forms}
    for shift in range(3):
        # Inside a longer text base64 has three alignments; only characters that no neighbour touches are certain.
        start, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        encoded = base64.b64encode(bytes(shift) + raw).decode()[start:end]
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return tuple(form for form in forms if len(form) >= _MIN_LENGTH)


def _text_of(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  whatever a foreign repr raises, a log line must not fail
        return f"<{type(value).__name__}>"
