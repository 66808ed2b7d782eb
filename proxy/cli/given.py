"""Secrets that a person or a script hands over: from stdin, a variable, a file or a hidden prompt; never from argv."""

import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

import click

from proxy.cli.exits import Stop
from proxy.cli.invocation import ask_hidden

TOKEN = "BEARERD_LOGIN_TOKEN"  # noqa: S105  the name of a variable
ANSWER = "BEARERD_LOGIN_ANSWER"
TOKENS = {TOKEN, f"{TOKEN}_FILE"}
LARGEST = 8192


def token(
    environ: MutableMapping[str, str], *, from_stdin: bool, questions: Sequence[str] | None, parts: int = 1
) -> str:
    """A credential from the one place that has it; `questions` are put to a person, one a part, if none has.

    One of several parts is given in as many lines, or as `first:second`, and comes back like that. Raises
    `click.UsageError` if two places have one or none has, and `Stop` if what is there is none.
    """
    text = _given(environ, TOKEN, from_stdin=from_stdin)
    if text is not None:
        lines = text.splitlines() or [""]
        found = lines[0].split(":", parts - 1) if len(lines) == 1 else lines
    elif questions is None:
        raise click.UsageError(f"No token: pipe it in with --token-stdin, or set {TOKEN}_FILE.")
    else:
        found = [ask_hidden(question) for question in questions]
    if len(found) != parts:
        raise Stop(f"this login takes {parts} {'part' if parts == 1 else 'parts, one a line'}")
    if not all(map(_whole, found)) or any(":" in part for part in found[:-1]):
        raise Stop("that is no token: it is empty, too long, or holds a space, a line break or the like")
    return ":".join(found)


def answer(environ: MutableMapping[str, str], *, ask: bool) -> str:
    """The address that a broker led back to: from the variable, its file, stdin, or a person. Raises as `token`."""
    text = _given(environ, ANSWER, from_stdin=False)
    if text is None:
        question = "The address that the browser ended up at (not shown)"
        text = ask_hidden(question) if ask else sys.stdin.read(LARGEST)
    text = text.strip()
    if not _whole(text):
        raise Stop("that is no address: it is empty, too long, or holds a space, a line break or the like")
    return text


def _given(environ: MutableMapping[str, str], name: str, *, from_stdin: bool) -> str | None:
    """What there is without asking, less one newline at its end."""
    text, file = environ.pop(name, None), environ.get(f"{name}_FILE")
    given = [way for way, there in (("--token-stdin", from_stdin), (name, text), (f"{name}_FILE", file)) if there]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)}: give it in one way only.")
    if from_stdin:
        text = sys.stdin.read(LARGEST)
    elif file:
        from proxy.store.files import read_provided

        text = read_provided(Path(file), LARGEST).decode("utf-8", "replace")
    return text.removesuffix("\n").removesuffix("\r") if text else "" if from_stdin or file else None


def _whole(text: str) -> bool:
    return 0 < len(text) < LARGEST and text.isascii() and text.isprintable() and " " not in text
