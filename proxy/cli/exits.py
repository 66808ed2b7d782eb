"""Exit codes, and which error ends in which: the only place that knows."""

import sys
from collections.abc import Mapping
from enum import IntEnum

import click

from proxy.cli.invocation import Invocation, unsaid


class Exit(IntEnum):
    """What a script can go by."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CONFIG = 3
    LOGIN = 4
    STORE = 5
    UNREACHABLE = 6


MEANINGS = {
    Exit.OK: "ok",
    Exit.FAILURE: "failure",
    Exit.USAGE: "wrong use of the command line",
    Exit.CONFIG: "configuration invalid",
    Exit.LOGIN: "login needed",
    Exit.STORE: "store locked, or wrong master key",
    Exit.UNREACHABLE: "server not reachable",
}


class Stop(Exception):
    """A command cannot go on. `fix` is the next command to type."""

    def __init__(self, message: str, code: Exit = Exit.FAILURE, fix: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.fix = fix


def report(error: Exception, ctx: click.Context) -> int:
    """Tell a person, on stderr, and return the exit code."""
    invocation = ctx.ensure_object(Invocation)
    while isinstance(error, ExceptionGroup):  # from a TaskGroup: the first is the reason of the others
        error = error.exceptions[0]
    if isinstance(error, BrokenPipeError):
        _close_stdout()
        return Exit.FAILURE
    if type(error).__name__ == "ConfigInvalid":
        return _report_config(error, invocation)
    from proxy import logs

    code, message, fix = explain(error)
    click.echo(f"error: {logs.redact(unsaid(message))}", err=True)
    if fix:
        click.echo(f"To fix: {logs.redact(fix)}", err=True)
    if invocation.verbose and code is Exit.FAILURE and not isinstance(error, Stop):
        _show_traceback(error)
    return code


# Class → exit code and remedy. By name: whatever an error is made by has been imported already, the rest need not be.
_KNOWN: Mapping[str, tuple[Exit, str | None]] = {
    "proxy.admin.NotPossible": (Exit.FAILURE, None),
    "proxy.admin.ServerGone": (Exit.UNREACHABLE, "bearerd serve"),
    "proxy.parser.UnsafeParser": (Exit.FAILURE, None),
    "proxy.store.KeyUnavailable": (
        Exit.STORE,
        "`bearerd init` makes a first one; `bearerd config show --origin` says where it is looked for",
    ),
    "proxy.store.StoreError": (Exit.FAILURE, None),
    "proxy.store.StoreLocked": (Exit.STORE, None),
    "proxy.store.WrongKey": (Exit.STORE, "`bearerd config show --origin` says where the key is looked for"),
    "proxy.tokens.journal.JournalError": (Exit.FAILURE, None),
    "proxy.tokens.errands.LoginFailed": (Exit.FAILURE, None),
}
# What a running server says went wrong (`admin.CommandFailed.kind`), where that is more than a failure.
_OF_SERVER = {"config": Exit.CONFIG}


def explain(error: Exception) -> tuple[Exit, str, str | None]:
    """Exit code, message and remedy of an error. The text of an unknown one is not shown: it may hold a secret."""
    if isinstance(error, Stop):
        return error.code, str(error), error.fix
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    if "proxy.admin.CommandFailed" in names:
        return _OF_SERVER.get(getattr(error, "kind", ""), Exit.FAILURE), str(error), getattr(error, "fix", None)
    for name in names:
        if name in _KNOWN:
            code, fix = _KNOWN[name]
            return code, str(error), getattr(error, "fix", None) or fix
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return Exit.FAILURE, f"{error.filename}: {reason}" if error.filename else reason, None
    return Exit.FAILURE, f"bearerd failed ({type(error).__name__}); -v shows where", None


def _report_config(error: Exception, invocation: Invocation) -> Exit:
    from proxy.cli.output import Style
    from proxy.config import ConfigInvalid, render_problems

    assert isinstance(error, ConfigInvalid)  # noqa: S101  for the type checker
    colored = Style.of(invocation, sys.stderr).colored
    click.echo(render_problems(error.problems, error.document, color=colored), err=True, color=colored)
    return Exit.CONFIG


def _show_traceback(error: Exception) -> None:
    import traceback

    from proxy import logs

    found = traceback.TracebackException.from_exception(error, capture_locals=False)
    click.echo(logs.redact("".join(found.format())), err=True)


def _close_stdout() -> None:
    """Whoever read our output has gone; Python must not complain about it a second time at the end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
