"""Tells one hook one thing, once: a signed post, or a run of a command."""

import asyncio
import json
import os
import platform
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from proxy import logs
from proxy.alerts import command, signing, webhook
from proxy.alerts.notice import Answer, Notice, foreign, tried
from proxy.clock import Clock, SystemClock
from proxy.hooks import Hook, Program, key_of

SHOWN = 300  # characters of what came back from a test

log = logs.get("alerts")


@dataclass(frozen=True, slots=True)
class Teller:
    """What a `Post` tells with. `server` is said to be where it comes from; by default this machine."""

    clock: Clock
    names: webhook.Names
    server: str = ""

    async def __call__(self, hook: Hook, notice: Notice) -> Answer:
        document = notice.document(self.server or platform.node())
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        way = hook.way
        if isinstance(way, Program):
            environ = command.environment(document, os.environ)
            answer = await command.run(way, body, environ, hook.timeout)
            if answer.output.strip():
                log.info("an alert's command said", hook=hook.name, output=foreign(answer.output))
            return answer
        key = key_of(way.key.reveal()) or b""
        signed = signing.headers(key, notice.id, int(self.clock.now().wall), body)
        return await webhook.post(way, body, signed, hook.timeout, self.names)


def new_id() -> str:
    """The name of a notice."""
    return f"msg_{secrets.token_urlsafe(18)}"


async def try_all(hooks: Iterable[Hook]) -> list[dict[str, Any]]:
    """Tell each that this is a test, and say what came back: where no server runs."""
    clock = SystemClock()
    tell = Teller(clock, webhook.Names())
    hooks = list(hooks)
    answers = await asyncio.gather(*(tell(hook, tried(new_id(), clock.now().wall)) for hook in hooks))
    return [tested(hook, answer) for hook, answer in zip(hooks, answers, strict=True)]


def tested(hook: Hook, answer: Answer) -> dict[str, Any]:
    """What an operator sees of a test."""
    return {
        "hook": hook.name,
        "kind": hook.kind,
        "to": hook.place,
        "ok": answer.ok,
        "said": foreign(answer.said),
        "ms": round(answer.seconds * 1000),
        "output": foreign(answer.output[:SHOWN]).strip(),
    }
