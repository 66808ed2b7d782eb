"""What an operator asks for with `bearerd halt` and `bearerd resume`, and how halts are shown."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from proxy import logs
from proxy.admin import NotPossible
from proxy.clock import Clock
from proxy.config import did_you_mean
from proxy.gate import halt as gate
from proxy.gate.clients import LOCAL
from proxy.gate.halt import Halt, Target
from proxy.halts import Halts, HaltsUnreadable
from proxy.settings import Settings
from proxy.store import StoreError


class Running(Protocol):
    """What it needs of an `App`."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def halts(self) -> Halts: ...


async def halt(app: Running, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Halt what the wish names, here at once. The answer has the halt that counts now, and whether it is `stored`.

    `warning` says why it is not. Raises `NotPossible`: nothing was halted.
    """
    target, now = _target(app.settings, wish), app.clock.now().wall
    reason = logs.redact(str(wish.get("reason") or ""))  # clients will read it
    try:
        wanted = Halt(*target, bool(wish.get("cancels_too")), str(wish["by"]), now, reason)
    except ValueError as error:
        raise NotPossible(f"{error}; nothing was halted") from None
    warning = None
    try:
        await app.halts.halt(wanted)
    except HaltsUnreadable as error:
        warning = f"everything is halted already, as {error}"
    except StoreError as error:
        warning = (
            f"it counts on this server only, until the store can be written: {error}. "
            "Servers that share the store take no new orders 5 s after it went silent"
        )
    except ValueError as error:
        raise NotPossible(str(error)) from None
    found = next((each for each in app.halts.all if each.target == target), wanted)
    return {"halt": shown(found), "new": found == wanted, "stored": app.halts.saved, "warning": warning}


async def resume(app: Running, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Lift the halt that the wish names, or `all` of them. The answer has those that were lifted and those that stay.

    Raises `NotPossible` if there is none, or no reason is given, and `StoreError`: nothing was lifted.
    """
    if fault := "is missing" if not str(wish.get("reason") or "").strip() else gate.text_fault(str(wish["reason"])):
        raise NotPossible(f"the reason {fault}; nothing was resumed")
    await app.halts.load_once()
    everything, fault_before = bool(wish.get("all")), app.halts.fault
    target: Target | None = None if everything else (wish.get("mount"), wish.get("scope"), wish.get("client"))
    try:
        lifted = await app.halts.resume(target)
    except HaltsUnreadable as error:
        raise NotPossible(f"{error}; everything counts as halted", "bearerd resume --all --reason TEXT") from None
    if not lifted and not (everything and fault_before):
        raise NotPossible(*_no_such(target, app.halts.all))
    return {"lifted": [shown(each) for each in lifted], "halts": [shown(each) for each in app.halts.all]}


def _no_such(target: Target | None, halts: tuple[Halt, ...]) -> tuple[str, str | None]:
    what = "nothing" if target is None else f"no halt of {gate.about(target)}"
    if not halts:
        return f"there is {what if target else 'nothing'} to resume", None
    there = "; ".join(gate.about(each.target) for each in halts)
    return f"there is {what}; halted: {there}", gate.resume_command(halts[0].target)


def shown(halt: Halt) -> dict[str, Any]:
    """A halt as `bearerd status --json` has it: its fields, itself in words, and the command that lifts it."""
    return halt.document() | {"text": gate.told(halt), "resume": gate.resume_command(halt.target)}


def warnings(halts: Halts) -> Iterator[str]:
    """What is wrong with the record of halts, or with the store that it stands in."""
    if halts.fault:
        fix = "Once you know what should be halted: bearerd resume --all --reason TEXT"
        yield f"everything is halted, as the record of halts can't be read: {halts.fault}. {fix}"
    elif halts.silent > gate.SILENCE:
        yield "the shared store is silent: no new orders are sent, as another server may have halted them"
    if not halts.saved:
        yield "a halt is not stored yet, and counts on this server only"


def ready_lines(halts: Halts) -> Iterator[str]:
    """For `/readyz`, which anybody may read: what is halted, and not who said so and why."""
    if halts.fault:
        yield "[-]halts cannot be read: everything is halted"
    elif halts.silent > gate.SILENCE:
        yield "[-]halts unknown: the store is silent, and no new orders are sent"
    yield from (f"[-]halted {gate.about(each.target)}" for each in halts.all)


def concerns(halts: Halts, mount: str) -> bool:
    """Whether anything of a mount is halted."""
    return bool(halts.fault) or any(each.mount in (None, mount) for each in halts.all)


def _target(settings: Settings, wish: Mapping[str, Any]) -> Target:
    """What is to be halted. `NotPossible` for a name that is not there: a typing error must not look like a halt."""
    config = settings.config
    mount, scope, client = (wish.get(name) for name in ("mount", "scope", "client"))
    if mount is not None and mount not in config.mounts:
        raise _unknown("mount", mount, config.mounts)
    mounts = [mount] if mount is not None else list(config.mounts)
    scopes = {row.scope: None for each in mounts for row in settings.api_of(each).table.rows if row.mutating}
    if scope is not None and scope not in scopes:
        raise _unknown("scope", scope, filter(None, scopes), " with calls that change something")
    clients = [LOCAL.name] if isinstance(config.clients, str) else list(config.clients)
    if client is not None and client not in clients:
        raise _unknown("client", client, clients)
    return mount, scope, client


def _unknown(kind: str, name: object, known: Any, which: str = "") -> NotPossible:
    names = list(known)
    guess = did_you_mean(str(name), names)
    there = f"known: {', '.join(names) or 'none'}"
    return NotPossible(f"there is no {kind} '{name}'{which}, and nothing was halted; {there}", guess)
