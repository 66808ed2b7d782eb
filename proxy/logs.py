"""Logging: our events and foreign records through one formatter, whose last step takes secrets out (`redactor.py`).

Lines are written by a thread of their own (`logsink.py`): a full pipe or disk costs log lines, never a request.

structlog is imported when it is first needed: it costs 139 ms, and `bearerd --help` has 150.
"""

import atexit
import functools
import importlib
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO

from proxy.logsink import Outlet, Sink
from proxy.redactor import Redactor
from proxy.secret import on_new_secret

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

_redactor = Redactor()
on_new_secret(_redactor.learn)


class _Handler(logging.Handler):
    """The one handler of the root logger. Nothing that goes wrong here reaches the caller."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  a record that cannot be rendered is still worth a line
            line = json.dumps({"event": "a log record could not be rendered", "logger": record.name})
        self.sink.put(f"{line}\n")


_handlers: list[_Handler] = []


def setup(
    format: Literal["auto", "json", "console"],  # noqa: A002  named as in the configuration
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO,
    *,
    color: bool = False,
) -> None:
    """Send everything that is logged from now on to `stream`; what an earlier call set up for another one is closed.

    `auto` is console on a terminal, else JSON. `color` colours the console form.
    """
    stream = _behind(stream)
    _load()
    from structlog.stdlib import ProcessorFormatter

    as_json = format == "json" or (format == "auto" and not stream.isatty())
    _configure()
    sink = _kept(stream)
    handler = _Handler(sink or Sink(stream, partial(_loss, as_json=as_json)))
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


def _behind(stream: TextIO) -> TextIO:
    """`stream`, or what it stands in for."""
    return stream.sink.stream if isinstance(stream, Outlet) else stream


def _kept(stream: TextIO) -> Sink | None:
    """The sink of an earlier `setup`, if that is for the same stream: it may take its time to end."""
    kept = next((handler.sink for handler in _handlers if handler.sink.stream is stream), None)
    if kept is None:
        close()
    for handler in _handlers:
        logging.getLogger().removeHandler(handler)
    _handlers.clear()
    return kept


def _loss(lines: int, *, as_json: bool) -> str:
    event = {"event": "log lines were lost", "level": "warning", "lines": lines}
    return f"{json.dumps(event) if as_json else f'[warning] {lines} log lines were lost'}\n"


def claim_stderr() -> None:
    """Have all that is said on stderr from now on written as the log is: nobody waits for whoever reads it.

    For processes that serve. It comes after `setup` for stderr, and ends with `close`.
    """
    for handler in _handlers:
        if handler.sink.stream is sys.stderr:
            sys.stderr = Outlet(handler.sink)
    # On a terminal that stops whoever writes to it from the background (`stty tostop`) that would stop us all.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def lines_lost() -> int:
    """How many lines found no room, or were refused, since logging was set up."""
    return sum(handler.sink.lost for handler in _handlers)


def close() -> None:
    """Write out what is waiting and stop logging. Also runs when the process ends."""
    for handler in _handlers:
        logging.getLogger().removeHandler(handler)
        taken = handler.sink.close()
        if taken and isinstance(sys.stderr, Outlet) and sys.stderr.sink is handler.sink:
            sys.stderr = handler.sink.stream  # else what is said from now on is lost, but nobody waits
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

    # Most lines of these levels are written nowhere, and structlog takes its time to find that out.

    def debug(self, event: str, **fields: Any) -> None:
        if self._standard.isEnabledFor(logging.DEBUG):
            _bound(self._name).debug(event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        if self._standard.isEnabledFor(logging.INFO):
            _bound(self._name).info(event, **fields)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(_bound(self._name), attribute)


@functools.cache
def _bound(name: str) -> Any:
    """The logger itself. To make one takes as long as a line that is not written."""
    _load()
    import structlog

    _configure()
    return structlog.stdlib.get_logger(name).bind()


def _load() -> None:
    """structlog, without what it would load where it finds it: for tracebacks of its own, and threads that we have not.

    That would be 40 ms and 6 MB.
    """
    if "structlog" in sys.modules:
        return
    absent = {"rich", "greenlet"} - sys.modules.keys()
    sys.modules |= dict.fromkeys(absent)  # type: ignore[arg-type]  # None: the import system knows it is not there
    try:
        importlib.import_module("structlog")
    finally:
        for name in absent:
            del sys.modules[name]


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
