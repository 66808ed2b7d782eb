"""What an operator has halted, and which calls that stops. What is known of halts comes in as a value.

A halt stops whatever changes something at the broker. A call that lowers risk (a cancel, the closing of a position)
outlives it unless the halt says otherwise. Where a broker closes positions by orders alone, those are stopped too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.errors import Refusal
from proxy.gate.rows import Row

SILENCE = 5.0  # seconds without a word from a shared store, after which nobody can say what is halted
LONGEST = 200  # characters of a text that a person gives
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")

Target = tuple[str | None, str | None, str | None]  # mount, scope, client; None: every one
EVERYTHING: Target = (None, None, None)


@dataclass(frozen=True, slots=True)
class Halt:
    """One halt. Of `mount`, `scope` and `client` None stands for every one.

    `by` is who asked for it and `since` when (Unix time); `reason` may be empty. ValueError for a text that is too
    long, or that would not stay in its line.
    """

    mount: str | None
    scope: str | None
    client: str | None
    cancels_too: bool
    by: str
    since: float
    reason: str = ""

    def __post_init__(self) -> None:
        for name, text in (("reason", self.reason), ("by", self.by)):
            if fault := text_fault(text):
                raise ValueError(f"{name} {fault}")

    @property
    def target(self) -> Target:
        """What it is about: there is one halt of each target at most."""
        return self.mount, self.scope, self.client

    def covers(self, mount: str, client: str, scope: str) -> bool:
        """Whether calls of this scope, by this client, on this mount, are among those that it is about."""
        return (
            self.mount in (None, mount)
            and self.client in (None, client)
            and (self.scope is None or self.scope == scope)
        )

    def stronger(self, other: "Halt") -> bool:
        """Whether it stops what `other`, of the same target, lets pass."""
        return self.cancels_too and not other.cancels_too

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = ("mount", "scope", "client", "cancels_too", "by", "since", "reason")


def read(value: Mapping[str, Any]) -> Halt:
    """The halt of a document. ValueError unless it is exactly one: what is not understood may matter."""
    if set(value) != set(FIELDS):
        raise ValueError("a halt has other fields than this bearerd knows")
    names = [value[name] for name in ("mount", "scope", "client")]
    texts = [value["by"], value["reason"]]
    sound = (
        all(name is None or (isinstance(name, str) and name) for name in names)
        and all(isinstance(text, str) for text in texts)
        and isinstance(value["cancels_too"], bool)
        and isinstance(value["since"], int | float)
    )
    if not sound:
        raise ValueError("a field of a halt has a type that this bearerd does not know")
    return Halt(**value)


def text_fault(text: str) -> str | None:
    """Why a text cannot stand in a halt, or None."""
    if len(text) > LONGEST:
        return f"is longer than {LONGEST} characters"
    return None if _TEXT.fullmatch(text) else "holds a line break or a control character"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of halts at one moment. `fault` says why the record of them can't be read, if so.

    `silent`: seconds since a store that others share was last heard of; 0 if nobody else has a say.
    """

    halts: tuple[Halt, ...] = ()
    fault: str = ""
    silent: float = 0.0


def check(known: Known, *, mount: str, client: str, row: Row) -> None:
    """Raise if this call must not be sent: `Refusal("halted")`, or `Refusal("store-silent")` if nobody can say."""
    if not row.mutating:
        return
    lowers = row.order is not None and row.order.kind == "lower"
    for halt in known.halts:
        if halt.covers(mount, client, row.scope) and (halt.cancels_too or not lowers):
            raise Refusal("halted", told(halt), fix=resume_command(halt.target), rule="halt")
    if lowers:
        return
    if known.fault:
        detail = f"The record of halts can't be read, so everything counts as halted: {known.fault}."
        raise Refusal("halted", detail, fix="bearerd resume --all --reason TEXT", rule="halt")
    if known.silent > SILENCE:
        detail = (
            f"The store has been silent for {known.silent:.0f} s, and another server may have halted this. "
            "Nothing was sent; reads and cancels go on."
        )
        raise Refusal("store-silent", detail, retry_after=1, rule="halt")


def told(halt: Halt) -> str:
    """Who, what, when and why, in a sentence or two."""
    since = datetime.fromtimestamp(halt.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    reason = halt.reason.rstrip(".") or "no reason was given"
    cancels = ", cancels too" if halt.cancels_too else ""
    return f"Halted{cancels}: {about(halt.target)}, since {since} by {halt.by}: {reason}."


def about(target: Target) -> str:
    """`every mount`; `the mount alpaca, scope trade, client bot`."""
    mount, scope, client = target
    parts = ["every mount" if mount is None else f"the mount {mount}"]
    parts += [f"scope {scope}"] if scope is not None else []
    parts += [f"client {client}"] if client is not None else []
    return ", ".join(parts)


def resume_command(target: Target) -> str:
    """The command that lifts the halt of this target."""
    mount, scope, client = target
    words = ["bearerd resume", mount or "", f"--scope {scope}" if scope else "", f"--client {client}" if client else ""]
    return " ".join([*filter(None, words), "--reason TEXT"])
