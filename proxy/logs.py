"""Logging: our events and foreign records through one formatter, whose last step takes secrets out.

Three passes, because each alone is blind somewhere: key names find what was logged under its own name, exact values
find a secret wherever it turns up, shapes find what was never known to us as a secret. Lines are written by a thread of
their own: a full pipe or disk costs log lines, never a request.

structlog is imported when it is first needed: it costs 139 ms, and `bearerd --help` has 150.
"""

import atexit
import base64
import functools
import json
import logging
import queue
import re
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, TextIO
from urllib.parse import quote, quote_plus

from proxy.secret import on_new_secret

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

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
_MAX_LINES = 10_000
_FLUSH_SECONDS = 1.0


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


_redactor = Redactor()
on_new_secret(_redactor.learn)


class _Writer:
    """Writes lines in a thread. When the sink fails or does not keep up, lines are counted and dropped."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_LINES)
        self.lost = 0
        # A daemon: a sink that blocks for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Write what is waiting, for at most a second."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_FLUSH_SECONDS)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)

    def _write(self, line: str) -> None:
        lost = self.lost
        text = f"{self._loss(lost)}{line}\n" if lost else f"{line}\n"
        try:
            self._stream.write(text)
            if self._lines.empty():
                self._stream.flush()
            self.lost -= lost
        except Exception:  # noqa: BLE001  closed, broken or full: there is nobody left to tell
            self.lost += 1

    def _loss(self, lost: int) -> str:
        event = {"event": "log lines were lost", "level": "warning", "lines": lost}
        return f"{json.dumps(event) if self._as_json else f'[warning] {lost} log lines were lost'}\n"


class _Handler(logging.Handler):
    """The one handler of the root logger. Nothing that goes wrong here reaches the caller."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  a record that cannot be rendered is still worth a line
            line = json.dumps({"event": "a log record could not be rendered", "logger": record.name})
        self.writer.put(line)

    def close(self) -> None:
        self.writer.close()
        super().close()


_handlers: list[_Handler] = []


def setup(
    format: Literal["auto", "json", "console"],  # noqa: A002  named as in the configuration
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO,
    *,
    color: bool = False,
) -> None:
    """Send everything that is logged from now on to `stream`; what an earlier call set up is closed.

    `auto` is console on a terminal, else JSON. `color` colours the console form.
    """
    from structlog.stdlib import ProcessorFormatter

    as_json = format == "json" or (format == "auto" and not stream.isatty())
    _configure()
    close()
    handler = _Handler(_Writer(stream, as_json=as_json))
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_stamps(),
            processors=[
                _render_exception,
                ProcessorFormatter.remove_processors_meta,
                _redact,
                _json_renderer() if as_json else _console_renderer(color=color),
            ],
        )
    )
    _handlers.append(handler)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


def close() -> None:
    """Write out what is waiting and stop logging. Also runs when the process ends."""
    for handler in _handlers:
        logging.getLogger().removeHandler(handler)
        handler.close()
    _handlers.clear()


def get(name: str) -> "BoundLogger":
    """A logger: `log.info("token renewed", grant=name)`. Cheap: structlog is imported with the first line logged."""
    return _Late(name)  # type: ignore[return-value]


def redact(text: str) -> str:
    """`text` without secrets, for what is printed and not logged (a traceback, a foreign error)."""
    return _redactor.text(text)


def catch_uncaught() -> None:
    """Log what nobody caught, in any thread: Python's own printing knows no redactor."""
    log = get("proxy")

    def report(kind: type[BaseException], error: BaseException | None) -> None:
        log.critical("uncaught exception", exc_info=error or RuntimeError(kind.__name__))

    sys.excepthook = lambda kind, error, _trace: report(kind, error)
    threading.excepthook = lambda args: report(args.exc_type, args.exc_value)
    sys.unraisablehook = lambda args: report(args.exc_type, args.exc_value)


class _Late:
    """Stands for a structlog logger until it is used."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._standard = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        # Most of these are written nowhere, and structlog takes its time to find that out.
        if self._standard.isEnabledFor(logging.DEBUG):
            _bound(self._name).debug(event, **fields)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(_bound(self._name), attribute)


@functools.cache
def _bound(name: str) -> Any:
    """The logger itself. To make one takes as long as a line that is not written."""
    import structlog

    _configure()
    return structlog.stdlib.get_logger(name).bind()


@functools.cache
def _configure() -> None:
    import structlog

    # Without it, records of a process that never called `setup` would be printed by logging itself, secrets and all.
    logging.getLogger().addHandler(logging.NullHandler())
    atexit.register(close)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *_stamps(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _stamps() -> list[Any]:
    import structlog

    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _json_renderer() -> Any:
    import structlog

    return structlog.processors.JSONRenderer()


def _console_renderer(*, color: bool) -> Any:
    import structlog

    # The default formatter of exceptions prints frame locals as soon as rich is installed.
    return structlog.dev.ConsoleRenderer(colors=color, exception_formatter=structlog.dev.plain_traceback)


def _render_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`exc_info` → `exception`: types, messages and frames as text, without locals."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if error and not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if error:
        found = traceback.TracebackException.from_exception(error, capture_locals=False, compact=True)
        event["exception"] = "".join(found.format()).rstrip("\n")
    return event


def _redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # What every line has comes first, so that lines can be read one below the other.
    ordered = {name: event[name] for name in ("timestamp", "level", "logger", "event") if name in event}
    stamp = ordered.pop("timestamp", None)
    shown = {} if stamp is None else {"timestamp": stamp}  # as `_stamps` has just made it
    rest = ordered | {name: value for name, value in event.items() if name != "timestamp"}
    return shown | {_redactor.text(name): _redactor.named(name, value) for name, value in rest.items()}
