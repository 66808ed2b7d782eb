"""What is told: a trouble that has begun or is over, or something that happened. Pure; times are Unix seconds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from proxy import logs
from proxy.spans import span

SCHEMA = 1
LONGEST = 300  # characters of a text
_READ = 4096  # of them that are looked at
_LATEST = 1e11  # Unix time, in seconds, that makes sense
Kind = Literal["problem", "resolved", "notice", "test"]
Severity = Literal["critical", "warning", "info"]

# Event → how bad it is.
SEVERITIES: Mapping[str, Severity] = {
    "login-needed": "critical",
    "login-ending": "warning",
    "refresh-failing": "critical",
    "refresh-token-half-life": "warning",
    "halted": "warning",
    "guard-denied": "warning",
    "audit-failing": "critical",
    "store-down": "critical",
    "reload-refused": "warning",
    "certificate-expiring": "warning",
    "client-key-expiring": "warning",
}
_RESOLVED = {"halted": "resumed"}
_ACCOUNT = re.compile(r"[0-9A-Za-z-]*[0-9]{5,}[0-9A-Za-z-]*|[0-9a-f]{8}-[0-9a-f-]{20,}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def resolved(event: str) -> str:
    """What its all-clear is called."""
    return _RESOLVED.get(event, f"{event}-resolved")


def foreign(text: str) -> str:
    """Words that are not ours, as they may be passed on: one line, short, without secrets and numbers of accounts."""
    plain = logs.redact(_CONTROL.sub(" ", text[:_READ]))
    masked = _ACCOUNT.sub(lambda found: f"***{found[0][-3:]}", plain)
    return masked if len(masked) <= LONGEST else f"{masked[: LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong, for a while.

    `subject` tells it from others of the same event; both together are its `key`. `text` is a sentence, `headline` its
    part that does not change; `about` are further fields. A trouble with another `version` is told anew. It must have
    lasted for `patience` seconds to be told, and be gone for `calm` to count as over. `restored`: an earlier process
    has seen it, and this one not yet.
    """

    event: str
    subject: str
    headline: str
    since: float
    reason: str = ""
    fix: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    patience: float = 0.0
    calm: float = 0.0
    restored: bool = False

    @property
    def key(self) -> str:
        """The same on every server."""
        return f"{self.event}/{self.subject}"

    @property
    def text(self) -> str:
        """What is wrong, in a sentence."""
        return f"{self.headline}: {self.reason.rstrip('.')}." if self.reason else f"{self.headline}."

    def record(self) -> dict[str, Any]:
        """As it is kept over a restart."""
        names = ("event", "subject", "headline", "since", "reason", "fix", "version")
        return {name: getattr(self, name) for name in names} | {"about": dict(self.about)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Trouble":
        """What `record` gave. LookupError, TypeError or ValueError for anything else."""
        texts = [record[name] for name in ("event", "subject", "headline", "reason", "version")]
        fix, since, about = record["fix"], record["since"], record["about"]
        sound = all(isinstance(text, str) for text in texts) and isinstance(fix, str | None)
        if not sound or not isinstance(since, int | float) or not isinstance(about, dict) or not 0 <= since <= _LATEST:
            raise ValueError("it is no trouble")
        event, subject, headline, reason, version = texts
        return cls(event, subject, headline, float(since), reason, fix, about, version, restored=True)


@dataclass(frozen=True, slots=True)
class Notice:
    """What one hook is told. `id` stays the same however often it is tried. `count`: how often it happened."""

    id: str
    event: str
    kind: Kind
    key: str
    severity: Severity
    time: float
    since: float
    text: str
    fix: str | None = None
    count: int = 1
    repeat: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    trouble: Trouble | None = field(default=None, repr=False)

    def document(self, server: str) -> dict[str, Any]:
        """The JSON object that is sent. `server` names the machine that it comes from."""
        common = {
            "schema": SCHEMA,
            "id": self.id,
            "event": self.event,
            "kind": self.kind,
            "key": self.key,
            "severity": self.severity,
            "time": moment(self.time),
            "since": moment(self.since),
            "text": logs.redact(self.text),
            "fix": self.fix,
            "count": self.count,
            "repeat": self.repeat,
            "server": server,
        }
        about = {name: logs.redact(value) if isinstance(value, str) else value for name, value in self.about.items()}
        return common | about | common  # nothing that is told beside it takes the place of these

    def with_earlier(self, earlier: "Notice") -> "Notice":
        """One notice for both."""
        count = earlier.count + self.count
        return replace(self, since=earlier.since, count=count, text=denied_text(self.about, count))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try to tell somebody.

    `said` is what came back, in a few words that may be shown; `seconds` is how long it took. `again`: whether another
    try makes sense. `retry_after`: seconds that the other end asks for. `output`: the beginning of what it said in
    full, which is not to be trusted.
    """

    ok: bool
    said: str
    seconds: float = 0.0
    again: bool = True
    retry_after: float = 0.0
    output: str = ""


def begun(trouble: Trouble, id_: str, now: float, repeat: int = 0) -> Notice:
    """Something is wrong; `repeat`: the how manieth time that is told again."""
    text = f"Still, after {span(now - trouble.since)}: {trouble.text}" if repeat else trouble.text
    severity = SEVERITIES[trouble.event]
    return Notice(
        id_, trouble.event, "problem", trouble.key, severity, now, trouble.since, text, trouble.fix,
        repeat=repeat, about=trouble.about, trouble=trouble,
    )  # fmt: skip


def over(trouble: Trouble, id_: str, now: float) -> Notice:
    """It is over."""
    text = f"Over after {span(now - trouble.since)}: {trouble.headline}."
    return Notice(
        id_, resolved(trouble.event), "resolved", trouble.key, "info", now, trouble.since, text,
        about=trouble.about, trouble=trouble,
    )  # fmt: skip


def denied(about: Mapping[str, Any], count: int, since: float, id_: str, now: float) -> Notice:
    """A guard has said no to so many calls since then; `about` has mount, client and guard."""
    key = f"guard-denied/{about['mount']}/{about['client']}/{about['guard']}"
    text = denied_text(about, count)
    fix = f"to look: bearerd audit search --refused --client {about['client']} --mount {about['mount']}"
    return Notice(
        id_, "guard-denied", "notice", key, SEVERITIES["guard-denied"], now, since, text, fix, count, about=about
    )


def denied_text(about: Mapping[str, Any], count: int) -> str:
    """`The guard max_quantity refused 3 calls of client bot on questrade.`"""
    calls = "a call" if count == 1 else f"{count} calls"
    return f"The guard {about['guard']} refused {calls} of client {about['client']} on {about['mount']}."


def tried(id_: str, now: float) -> Notice:
    """For an operator who wants to know whether a hook works."""
    return Notice(id_, "test", "test", "test", "info", now, now, "This is a test; nothing is wrong.")


def moment(wall: float) -> str:
    """`2026-11-22T17:05:18Z`."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
