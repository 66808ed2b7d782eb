"""`bearerd alerts`: list and test, with a server and without one."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.cli.alerts import render
from proxy.cli.output import Style
from proxy.cli.status import render as status_lines
from tests.alerts.receivers import OK, SECRET, Receiver, receiving, status
from tests.cli.support import Person

PLAIN = Style(colored=False)
HOOK = {
    "name": "ops", "kind": "webhook", "to": "https://alerts.example.com", "events": ["halted"], "repeat": 0,
    "timeout": 10, "waiting": 0, "delivered": 0, "failed": 0, "given_up": 0, "dropped": 0, "failing_since": None,
    "last": None,
}  # fmt: skip
FAILING = HOOK | {
    "name": "pager", "kind": "command", "to": "/usr/local/bin/page", "repeat": 3600, "waiting": 3, "failed": 9,
    "given_up": 1, "dropped": 2, "failing_since": 40,
    "last": {"at": 88, "event": "halted", "ok": False, "said": "exit 3"},
}  # fmt: skip


def test_hooks_are_shown_with_how_it_goes() -> None:
    """One line each, and what each is told of."""
    well = HOOK | {"delivered": 2, "last": {"at": 95, "event": "test", "ok": True, "said": "204 No Content"}}
    assert [
        "  HOOK   KIND     TO                          WAITING    LAST",
        "! ops    webhook  https://alerts.example.com  0          nothing yet",
        "✗ pager  command  /usr/local/bin/page         3, 3 lost  halted 12 s ago: exit 3",
        "✓ ops    webhook  https://alerts.example.com  0          test 5 s ago: 204 No Content",
        "  ops is told of: halted",
        "  pager is told of: halted; what still goes wrong again every 1h00m",
        "  ops is told of: halted",
    ] == "\n".join(render([HOOK, FAILING, well], 100, PLAIN)).splitlines()


def test_status_shows_how_hooks_stand() -> None:
    """Below the mounts; nothing where there are none."""
    found = {
        "version": "1", "pid": 1, "url": "http://x", "console": None, "started": 0, "now": 100, "store": "sqlite:x",
        "mounts": [], "clients": [], "halts": [], "warnings": [], "draining": False,
    }  # fmt: skip
    assert "✗ pager  command" in "\n".join(status_lines(found | {"alerts": [FAILING]}, PLAIN))
    assert "HOOK" not in "\n".join(status_lines(found | {"alerts": []}, PLAIN))


@contextmanager
def elsewhere(*script: bytes) -> Iterator[Receiver]:
    """A receiver in a thread: the commands have loops of their own."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[Receiver] = []

    async def serve() -> None:
        async with receiving(*script) as receiver:
            found.append(receiver)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(5)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def test_without_a_server_hooks_are_tried_from_here(person: Person) -> None:
    """What came back is said, and one that fails makes it exit code 1."""
    with elsewhere(OK) as ops, elsewhere(status("500 Oops", body=b"no \x1b[31mluck")) as bad:
        ways = {"ops": ops, "bad": bad}
        file = person.write_config()
        alerts = {name: {"url": f"http://{each.host}/canary", "secret": SECRET} for name, each in ways.items()}
        file.write_text(f"{file.read_text()}alerts: {json.dumps(alerts)}\n")
        both = person.run("alerts", "test")
        listed = person.run("alerts", "list", "--json")
    assert (1, 0) == (both.code, listed.code), both.output
    first, second, third = both.out.splitlines()
    assert first.startswith(f"✓ ops (http://{ops.host}): 204 No Content, ")
    assert second.startswith(f"✗ bad (http://{bad.host}): 500 Internal Server Error, ")
    assert "  no  [31mluck" == third
    assert ["ops", "bad"] == [each["name"] for each in json.loads(listed.out)["alerts"]]
    assert "canary" not in both.output + listed.output
    assert ["test"] == ops.events


def test_nobody_is_told_anything(person: Person) -> None:
    """Where there are no hooks, the next step is said."""
    person.write_config()
    done = person.run("alerts", "test")
    assert (1, True) == (done.code, "To fix: add one under `alerts:`" in done.err)
