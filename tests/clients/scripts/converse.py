"""The client's side of `conversation.py`: calls a Python package as it is told to, line by line.

Runs in a process of its own, with the package as installed. Nothing of ours is imported here.
"""

import asyncio
import contextlib
import dataclasses
import enum
import importlib
import inspect
import io
import json
import math
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

kept: dict[str, Any] = {}
async_loop = asyncio.new_event_loop()  # one for all calls: clients keep their session


def nobody_leaves(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: whatever looks for a host that is not this one is told to the trap, and stopped.

    aiohttp heeds no proxy of the environment.
    """
    if event != "socket.getaddrinfo":
        return
    host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
    if host in (None, "", "localhost", "127.0.0.1", "::1"):
        return
    trap = urlsplit(os.environ["http_proxy"])
    with socket.create_connection((trap.hostname or "", trap.port or 0)) as connection:
        connection.sendall(f"CONNECT {host}:{arguments[1]} HTTP/1.1\r\n\r\n".encode())
        connection.recv(1024)
    raise PermissionError(f"nobody leaves for {host}")


def main() -> None:
    """Answer one line for each line, until there are no more. What the package prints never mixes with it."""
    sys.addaudithook(nobody_leaves)
    out = sys.stdout
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            answer = answer_to(json.loads(line, object_hook=revived), printed)
        out.write(json.dumps(plain(answer)) + "\n")
        out.flush()


def answer_to(question: dict[str, Any], printed: io.StringIO) -> dict[str, Any]:
    do = question.pop("do")
    try:
        return {"result": settled(DEEDS[do](**question))}
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the package raises is the answer
        answer = body_of(error)
        text = str(error)
        return {"failed": {"kind": type(error).__name__, "text": text, "answer": answer, "printed": printed.getvalue()}}


def body_of(error: BaseException) -> str | None:
    """Of the answer that the exception is about, if it carries one."""
    try:
        response = getattr(error, "response", None)
        return None if response is None else str(response.text)
    except Exception:  # noqa: BLE001  a property that fails is none
        return None


def make(arguments: list[Any], options: dict[str, Any], on: str = "client") -> None:
    name, *rest = arguments
    kept[on] = found(name)(*rest, **options)


def keep(name: str, on: str, method: str, arguments: list[Any], path: list[Any]) -> None:
    result = call(method, arguments, on=on)
    for step in path:
        result = result[step]
    kept[name] = result


def assign(name: str, value: object) -> None:
    owner, _, attribute = name.rpartition(".")
    target = kept[owner] if owner in kept else found(owner)
    getattr(target, attribute)  # it must be there already, or this would do nothing
    setattr(target, attribute, value)


def call(method: str, arguments: list[Any], options: Mapping[str, Any] | None = None, on: str = "client") -> Any:
    if "." in method:
        return settled(found(method)(kept[on], *arguments, **(options or {})))
    value = getattr(kept[on], method)
    return settled(value(*arguments, **(options or {})) if callable(value) else value)


def methods(of: str, inherited: bool = False) -> list[str]:
    owner = found(of)
    return [name for name in (dir(owner) if inherited else vars(owner)) if not name.startswith("_")]


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
    """What a dotted name stands for: a module, a class, a function, a value of a module or class."""
    steps = name.split(".")
    for end in range(len(steps), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            value = importlib.import_module(".".join(steps[:end]))
            for step in steps[end:]:
                value = getattr(value, step)
            return value
    raise ModuleNotFoundError(name)


def settled(value: Any) -> Any:
    """Generators and coroutines do their work only when somebody asks for it."""
    if inspect.iscoroutine(value):
        return async_loop.run_until_complete(value)
    return list(value) if inspect.isgenerator(value) else value


def revived(document: dict[str, Any]) -> Any:
    """What JSON has no word for.

    `{"days ago": 1}`, `{"time": "2026-01-01T00:00:00"}` (naive, as kwess takes them), `{"date": …}`, `{"value": dotted
    name}`, `{"new": dotted name, …}` with keyword arguments, `{"kept": name}`.
    """
    match document:
        case {"days ago": days, **rest} if not rest:
            return datetime.now() - timedelta(days=days)  # noqa: DTZ005, TID251  this is another program
        case {"time": text, **rest} if not rest:
            return datetime.fromisoformat(text)
        case {"date": text, **rest} if not rest:
            return date.fromisoformat(text)
        case {"value": str(name), **rest} if not rest:
            return found(name)
        case {"kept": name, **rest} if not rest:
            return kept[name]
        case {"new": str(name), **options}:
            return found(name)(**options)
        case _:
            return document


def plain(value: Any) -> Any:
    """The same in JSON's words: frames are lists of rows, entities and models are objects."""
    match value:
        case enum.Enum():
            return plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return None if math.isnan(value) else value  # a frame's empty cell
        case dict():
            return {str(plain(key)): plain(each) for key, each in value.items()}
        case list() | tuple() | set():
            return [plain(each) for each in value]
        case datetime() | date():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case _:
            return plain_object(value)


def plain_object(value: Any) -> Any:
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.reset_index().to_dict(orient="records"))
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_raw"):  # alpaca-trade-api's entities
        return plain(value._raw)
    if hasattr(value, "item") and not hasattr(value, "__len__"):  # a number of numpy
        return plain(value.item())
    if type(value).__module__.startswith("alpaca_trade_api"):
        return plain(vars(value))
    return plain(value.to_dict()) if hasattr(value, "to_dict") else repr(value)


DEEDS: dict[str, Callable[..., Any]] = {
    "make": make,
    "assign": assign,
    "call": call,
    "keep": keep,
    "methods": methods,
    "loop": loop,
}

if __name__ == "__main__":
    main()
