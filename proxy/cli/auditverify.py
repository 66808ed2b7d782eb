"""`bearerd audit verify`: the trails of this state directory, held against their chains and the store."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy.audit.chain import Keys
from proxy.audit.kept import END, mark_of, secret_of
from proxy.audit.reading import content, directories, firsts
from proxy.audit.trailfile import Mark
from proxy.audit.verify import Fault, Findings, install_of, verify
from proxy.cli.exits import Stop
from proxy.cli.invocation import Invocation
from proxy.cli.output import BAD, GOOD, NOTE, Style
from proxy.cli.server import answers
from proxy.cli.storemoves import there
from proxy.config import Config
from proxy.custody import audit_path
from proxy.settings import Settings
from proxy.store.rekey import find
from proxy.store.vault import Vault


async def verified(invocation: Invocation, settings: Settings) -> list[tuple[str, Findings]]:
    """Each trail's name and what was found. `Stop` if there is none; `StoreError`, `OSError`."""
    root = audit_path(settings.config)
    running = await answers(settings)
    async with there(settings.config) as store:
        vault = Vault(store, await find(store, invocation.source(settings.config)))
        secret = await secret_of(vault)
        # Before the files are read: what comes meanwhile is in them.
        names = [name.removeprefix(END) for name, _ in await vault.entries(END)]
        marks = {name: mark for name in names if (mark := await mark_of(vault, name)) is not None}
    found = await asyncio.to_thread(directories, root)
    if secret is None or not (found or marks):
        raise Stop(f"there is no audit trail at {root}", fix="bearerd serve")
    results = [
        (each.name, await asyncio.to_thread(_check, each, secret, marks.get(each.name), running=running))
        for each in found
    ]
    return results + _gone(settings.config, marks, {each.name for each in found})


def _check(directory: Path, secret: bytes, mark: Mark | None, *, running: bool) -> Findings:
    numbers = firsts(directory)
    keys = Keys(secret, install_of(content(directory, numbers[0])))
    if keys.id != directory.name:
        return Findings(faults=[Fault(directory.name, 0, "it is not of this store, or its first file was changed")])
    return verify(keys, ((first, content(directory, first)) for first in numbers), mark, running=running)


def _gone(config: Config, marks: Mapping[str, Mark], there: set[str]) -> list[tuple[str, Findings]]:
    """Trails that the store knows and nobody finds: a fault if one of them was written to last.

    Of a store that servers share the others are elsewhere.
    """
    if config.store_path is None or not marks:
        return []
    newest = max(marks, key=lambda trail: marks[trail].time)
    found = []
    for trail in marks.keys() - there:
        if trail == newest:
            found.append((trail, Findings(faults=[Fault(trail, 0, "all of its files are missing")])))
        else:
            found.append((trail, Findings(notes=["its files are not here: it is older, or another machine's"])))
    return found


def plain(name: str, found: Findings) -> dict[str, Any]:
    """What was found, for `--json`."""
    return {
        "trail": name,
        "records": found.records,
        "first": found.first,
        "last": found.last,
        "unknown": found.unknown,
        "faults": [{"file": fault.file, "line": fault.line, "problem": fault.problem} for fault in found.faults],
        "notes": found.notes,
    }


def rendered(name: str, found: Findings, style: Style) -> Iterator[str]:
    """What was found, line by line."""
    mark = style.paint(BAD if found.faults else GOOD, BAD if found.faults else GOOD)
    span = f"{found.first} to {found.last}" if found.records else "none"
    yield f"{mark} trail {name}: {found.records} records ({span}) {'do not ' * bool(found.faults)}hold"
    for fault in found.faults:
        yield f"  {style.paint(BAD, BAD)} {fault.file}{f':{fault.line}' if fault.line else ''}: {fault.problem}"
    for note in found.notes:
        yield f"  {style.paint(NOTE, NOTE)} {note}"
    if found.unknown:
        see = "bearerd audit search --outcome unknown"
        yield f"  {style.paint(NOTE, NOTE)} {len(found.unknown)} calls without an outcome: {see}"
