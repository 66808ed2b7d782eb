"""What a person can do at the console, as data: the fields of each form, the command, what to confirm, what to say.

No socket and no clock. Fields come as they were typed; `status` is the server's, as plain data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.console.view import Problem
from proxy.expiry import HOW, end_of, seconds_of
from proxy.secret import Secret

Form = Mapping[str, str]
Status = Mapping[str, Any]

LIVE = "live"
PARTS = ("token", "token2", "token3", "token4")  # of one credential
SECRET = frozenset(PARTS)  # never given back to a page
LONGEST_TOKEN = 8192
OVERLAP = "24h"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to do. `page` is the form that it comes from, and goes back to if it can't be done; "" is the console.

    `wish` makes the command's parameters of a form, `said` a sentence of the form and the answer.
    """

    command: str
    fields: tuple[str, ...]
    wish: Callable[[Form, Status], dict[str, Any]]
    said: Callable[[Form, Mapping[str, Any]], str] = lambda _form, _answer: ""
    page: str = ""


# -- what is asked for ------------------------------------------------------------------------------------------------


def pasted(asked: Mapping[str, Any]) -> list[str]:
    """The names of what a login takes as text. Of the broker's page too: a token may have been had elsewhere."""
    match asked["kind"]:
        case "client-credentials":
            return []  # they are in the configuration
        case "code":
            return ["refresh token"]
        case _:
            return list(asked["asks"] or ["token"])[: len(PARTS)]


def credential(form: Form, asks: int) -> str | None:
    """A token or secret of `asks` parts, as `login` takes it; None if none is asked for. Raises `Problem`."""
    parts = [form.get(name, "") for name in PARTS[:asks]]
    if not all(parts):
        raise Problem("Nothing was pasted." if asks == 1 else f"This login takes {asks} parts; one is empty.")
    if not all(map(_whole, parts)) or any(":" in part for part in parts[:-1]):
        raise Problem("That is no token: it is too long, or holds a space, a line break or the like.")
    return Secret(":".join(parts)).reveal() if parts else None


def _whole(text: str) -> bool:
    return len(text) < LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text


def _grant(form: Form, _status: Status) -> dict[str, Any]:
    return {"mount": _needed(form, "grant", "which grant")}


def _new_key(form: Form, status: Status) -> dict[str, Any]:
    return {"name": _needed(form, "name", "the client's name"), "grants": form.get("grants", "").split()} | _ends(
        form, status
    )


def _rotated(form: Form, status: Status) -> dict[str, Any]:
    overlap = seconds_of(form.get("overlap") or OVERLAP)
    if overlap is None:
        raise Problem("The old key's time can't be read: write a length of time as in 24h, 30m or 0s.")
    return {"name": _needed(form, "name", "which client"), "number": _number(form), "overlap": overlap} | _ends(
        form, status
    )


def _removed(form: Form, _status: Status) -> dict[str, Any]:
    return {"name": _needed(form, "name", "which client"), "number": _number(form)}


def _ends(form: Form, status: Status) -> dict[str, float]:
    text = form.get("expires", "")
    if not text:
        return {}
    if (length := seconds_of(text)) is not None:
        return {"lasts": length}
    moment = end_of(text, status["now"])
    if moment is None:
        raise Problem(f"The key's end can't be read: {HOW}.")
    return {"expires": moment}


def _number(form: Form) -> int | None:
    text = form.get("number", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004
        raise Problem("The key's number can't be read.")
    return int(text)


def after(form: Form) -> int:
    """The number after which keys are listed; all of them for what can't be read."""
    text = form.get("after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1  # noqa: PLR2004


def target(form: Form) -> dict[str, Any]:
    """What a halt is about; None for every one."""
    return {name: form.get(name) or None for name in ("mount", "scope", "client")}


def _halted(form: Form, _status: Status) -> dict[str, Any]:
    return target(form) | {
        "cancels_too": form.get("cancels_too") == "yes", "reason": form.get("reason", ""), "by": "console",
    }  # fmt: skip


def _resumed(form: Form, _status: Status) -> dict[str, Any]:
    return target(form) | {
        "all": form.get("all") == "yes", "reason": _needed(form, "reason", "the reason"), "by": "console",
    }  # fmt: skip


def _needed(form: Form, name: str, what: str) -> str:
    text = form.get(name, "")
    if not text:
        raise Problem(f"One thing is missing: {what}.")
    return text


# -- what is to be confirmed ------------------------------------------------------------------------------------------


def concerned(name: str, form: Form, status: Status) -> list[Mapping[str, Any]]:
    """The mounts that an act is about."""
    mounts: list[Mapping[str, Any]] = status["mounts"]
    match name:
        case "log-in" | "log-in-there" | "revoke":
            base = form.get("grant", "").partition("/")[0]  # as commands take it: also by the name of a mount
            grant = next((mount["grant"] for mount in mounts if mount["name"] == base), base)
            return [mount for mount in mounts if mount["grant"] == grant]
        case "client-rotate" | "client-remove" | "client-add" | "client":
            rights = [each["rights"] for each in status["clients"] if each["name"] == form.get("name")]
            return [mount for mount in mounts if any(mount["name"] in (right or ()) for right in rights)]
        case "halt" | "resume":
            every = form.get("all") == "yes" or not form.get("mount")
            return [mount for mount in mounts if every or mount["name"] == form["mount"]]
        case _:
            return []


def live(name: str, form: Form, status: Status) -> list[str]:
    """The names of mounts with real money that an act is about."""
    return [mount["name"] for mount in concerned(name, form, status) if mount["environment"] == LIVE]


def risk(name: str, form: Form, status: Status) -> str:
    """What a person has to confirm before it is done; empty if nothing."""
    real = live(name, form, status)
    match name:
        case "revoke":
            return f"Programs that use {form.get('grant', '')} stop working until somebody logs in again."
        case "client-remove":
            return "Programs with such a key are refused from that moment on. It can't be had back."
        case "client-rotate" if seconds_of(form.get("overlap") or OVERLAP) == 0:
            return "The old key is refused at once: programs that still use it stop working."
        case "halt" if form.get("cancels_too") == "yes":
            return "Cancels are stopped too: open orders can't be taken back through bearerd."
        case "resume" if real:
            return "Orders with real money go through again."
        case _:
            return ""


def confirmation(name: str, form: Form, status: Status) -> str:
    """What a form says of which somebody has had a second thought: it is good for the same real money only."""
    real = live(name, form, status)
    return f"live {' '.join(real)}" if real else "yes"


# -- what is said of it -----------------------------------------------------------------------------------------------


def _logged_in(_form: Form, answer: Mapping[str, Any]) -> str:
    lacks = f" Not granted: {' '.join(answer['missing'])}; the broker will refuse calls that need it."
    return f"{answer['grant']} is logged in at {answer['broker']} ({answer['environment']})." + (
        lacks if answer["missing"] else ""
    )


def _gave_up(_form: Form, answer: Mapping[str, Any]) -> str:
    return f"The grant {answer['grant']} is revoked here: {answer['message']}."


def _keys_gone(form: Form, answer: Mapping[str, Any]) -> str:
    count = answer["removed"]
    if not count:
        return f"{form['name']} had no such key; nothing was removed."
    return f"{count} {'key' if count == 1 else 'keys'} of {form['name']} removed, and refused from now on."


def _was_halted(_form: Form, answer: Mapping[str, Any]) -> str:
    before = "" if answer["new"] else "That was halted already. "
    return f"{before}{answer['halt']['text']}" + (f" But {answer['warning']}." if answer["warning"] else "")


def _was_resumed(_form: Form, answer: Mapping[str, Any]) -> str:
    left = len(answer["halts"])
    rest = f" {left} {'halt stays' if left == 1 else 'halts stay'} in force." if left else " Nothing is halted now."
    return f"Resumed: {len(answer['lifted'])} {'halt' if len(answer['lifted']) == 1 else 'halts'} lifted.{rest}"


def _was_loaded(_form: Form, answer: Mapping[str, Any]) -> str:
    changed = "; ".join(answer.get("changes") or answer["changed"])
    return f"The configuration is loaded; changed: {changed}." if changed else "The configuration is loaded; no change."


_TARGET = ("mount", "scope", "client", "reason")
ACTS: Mapping[str, Act] = {
    "log-in-there": Act("login-begin", ("grant",), _grant),
    "log-in": Act("login", ("grant", *PARTS), _grant, _logged_in, "log-in"),
    "revoke": Act("revoke", ("grant",), _grant, _gave_up, "revoke"),
    "client-add": Act("clients-add", ("name", "grants", "expires"), _new_key, page="client-add"),
    "client-rotate": Act("clients-rotate", ("name", "number", "overlap", "expires"), _rotated, page="client-rotate"),
    "client-remove": Act("clients-remove", ("name", "number"), _removed, _keys_gone, "client-remove"),
    "halt": Act("halt", (*_TARGET, "cancels_too"), _halted, _was_halted, "halt"),
    "resume": Act("resume", (*_TARGET, "all"), _resumed, _was_resumed, "resume"),
    "reload": Act("reload", (), lambda _form, _status: {}, _was_loaded),
}
FORMS = ("log-in", "revoke", "client", "client-add", "client-rotate", "client-remove", "halt", "resume")
TYPED = sorted({field for act in ACTS.values() for field in act.fields} - SECRET | {"after"})
