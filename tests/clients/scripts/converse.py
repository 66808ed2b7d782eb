"""The client's side of `conversation.py`: calls a Python package as it is told to, line by line.

Runs in a process of its own, with the package as installed. Nothing of ours is imported here.
"""

import contextlib
import importlib
import inspect
import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

kept: dict[str, Any] = {}


def main() -> None:
    """Answer one line for each line, until there are no more. What the package prints never mixes with it."""
    out = sys.stdout
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            answer = answer_to(json.loads(line, object_hook=revived), printed)
        out.write(json.dumps(answer, default=plain) + "\n")
        out.flush()


def answer_to(question: dict[str, Any], printed: io.StringIO) -> dict[str, Any]:
    do = question.pop("do")
    try:
        return {"result": settled(DEEDS[do](**question))}
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the package raises is the answer
        response = getattr(error, "response", None)
        answer = None if response is None else response.text
        text = str(error)
        return {"failed": {"kind": type(error).__name__, "text": text, "answer": answer, "printed": printed.getvalue()}}


def make(arguments: list[Any], options: dict[str, Any]) -> None:
    name, *rest = arguments
    kept["client"] = found(name)(*rest, **options)


def assign(name: str, value: object) -> None:
    owner, _, attribute = name.rpartition(".")
    found(name)  # it must be there already, or this would do nothing
    setattr(importlib.import_module(owner), attribute, value)


def call(method: str, arguments: list[Any], options: Mapping[str, Any] | None = None, on: str = "client") -> Any:
    if "." in method:
        return found(method)(kept[on], *arguments, **(options or {}))
    value = getattr(kept[on], method)
    return settled(value(*arguments, **(options or {})) if callable(value) else value)


def methods(of: str) -> list[str]:
    return [name for name in vars(found(of)) if not name.startswith("_")]


def loop(calls: list[tuple[str, list[Any]]], seconds: float) -> tuple[int, list[str]]:
    made, failures, end = 0, [], time.monotonic() + seconds
    while time.monotonic() < end:
        for method, arguments in calls:
            made += 1
            try:
                result = call(method, arguments)
            except (Exception, SystemExit) as error:  # noqa: BLE001  as above
                failures.append(f"{method}: {error!r}")
            else:
                # questrade-api hands an error out as if it were data
                if isinstance(result, dict) and "code" in result:
                    failures.append(f"{method}: {result}")
    return made, failures


def found(name: str) -> Any:
    """What a dotted name stands for: a class, a function, a value of a module."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def settled(value: Any) -> Any:
    """Generators do their work only when somebody asks for the items."""
    return list(value) if inspect.isgenerator(value) else value


def revived(document: dict[str, Any]) -> Any:
    """`{"days ago": 1}` and `{"time": "2026-01-01T00:00:00"}` as the naive local times that kwess takes."""
    if document.keys() == {"days ago"}:
        return datetime.now() - timedelta(days=document["days ago"])  # noqa: DTZ005, TID251  this is another program
    if document.keys() == {"time"}:
        return datetime.fromisoformat(document["time"])
    return document


def plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


DEEDS: dict[str, Callable[..., Any]] = {"make": make, "assign": assign, "call": call, "methods": methods, "loop": loop}

if __name__ == "__main__":
    main()
