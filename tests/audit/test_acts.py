"""Operators' acts: who did what, on the disk before the answer; a failing disk hides no act."""

import asyncio
import errno
import os
from typing import Any

import pytest

from proxy.audit.acts import ON_RECORD, WIDENS, Acts
from proxy.audit.caller import caller
from proxy.audit.trail import SLOW, Trail
from proxy.store import StoreError
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from tests.audit.trails import INSTALL, ROOT, findings, opened, said, vault


async def test_an_act_is_durable_before_it_is_answered() -> None:
    """Who, what, how it ended and what it was about; a trail that is not open yet is opened."""
    disk, kept = MemoryDisk(), vault()
    trail = Trail(ROOT, kept, INSTALL, files=disk)
    acts = Acts(trail)
    await acts.record("clients-add", name="bot", grants=["a/b"], lasts=None)
    await acts.record("halt", who="console", outcome="failed")
    lost = next(iter(disk.after_power_loss()))
    first, second = (await said(lost, kept))[1:]
    assert ("act", "clients-add", f"uid {os.geteuid()}", "done", {"name": "bot", "grants": ["a/b"]}) == tuple(
        first[name] for name in ("kind", "act", "who", "outcome", "about")
    )
    assert ("console", "failed", {}) == (second["who"], second["outcome"], second["about"])
    await trail.close()


async def test_who_asks_is_known_in_the_task_that_serves_the_wish() -> None:
    """And nowhere else."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        acts = Acts(trail)

        async def serve(name: str) -> None:
            caller.set(name)
            await asyncio.sleep(0)
            await acts.record("reload")

        await asyncio.gather(serve("uid 7"), serve("signal"))
        await acts.record("reload")
    assert {"uid 7", "signal", f"uid {os.geteuid()}"} == {f["who"] for f in await said(disk, kept) if "who" in f}


async def test_an_act_that_the_disk_does_not_take_is_told_loudly_and_follows(caplog: pytest.LogCaptureFixture) -> None:
    """It has happened all the same."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        await trail.durable()
        acts = Acts(trail)
        disk.fail("datasync", errno.ENOSPC)
        await acts.record("revoke", mount="questrade")
        assert "not in the audit trail yet" in caplog.text
        assert "No space left on device" == acts.fault
        await trail.durable()
        assert "" == acts.fault
    assert ["revoke"] == [fields["act"] for fields in await said(disk, kept) if fields["kind"] == "act"]


async def test_a_trail_that_cannot_be_opened_is_a_fault_and_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    """The store is down, or the disk is."""

    class Down(MemoryStore):
        async def read(self, name: str) -> Any:  # noqa: ARG002  whichever it is
            raise StoreError("down")

    for kept, disk in ((Vault(Down(), Sealer(b"k" * 32, "lab")), MemoryDisk()), (vault(), MemoryDisk())):
        disk.fail("names", errno.EIO, times=9)
        acts = Acts(Trail(ROOT, kept, INSTALL, files=disk))
        await acts.record("revoke")
        await acts.open()
        assert acts.fault in ("down", "Input/output error")


async def test_a_start_and_a_stop_are_on_record() -> None:
    """With version and process."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        acts = Acts(trail)
        acts.started("9.9")
        acts.stopped()
    assert [("started", "9.9", os.getpid()), ("stopped", None, os.getpid())] == [
        (fields["kind"], fields.get("version"), fields["pid"]) for fields in (await said(disk, kept))[1:]
    ]
    assert [] == (await findings(disk, kept)).faults


def test_what_goes_on_record_names_no_secret() -> None:
    """Of the params of a command only these are kept; what widens rights is among the commands."""
    kept = {name for names in ON_RECORD.values() for name in names}
    assert not kept & {"token", "answer", "digest", "key", "secret", "token_id", "account"}
    assert WIDENS - {"lend"} <= ON_RECORD.keys()


async def test_a_disk_that_hangs_is_a_fault_for_the_next_act(caplog: pytest.LogCaptureFixture) -> None:
    """One act has waited in vain: what widens is not begun after that, until the disk answers."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        await trail.durable()
        disk.sync_seconds = 0.3
        acts = Acts(trail, patience=0.02)
        await acts.record("login", mount="questrade")
        assert SLOW == acts.fault
        assert SLOW in caplog.text
        disk.sync_seconds = 0.0
        await trail.durable()
        assert "" == acts.fault


async def test_an_act_has_room_when_calls_have_none_and_else_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of reads must not take away the record of a halt."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept, room=2000) as trail:
        acts = Acts(trail)
        disk.fail("pwrite", errno.ENOSPC, times=99)
        while trail.put("call", '"x":1'):
            pass
        await acts.record("halt", by="bot")
        while trail.put("outcome", '"x":1'):
            pass
        disk.heal()
        assert "too much waits" not in caplog.text
        await acts.record("resume", by="bot")
        assert "too much waits" in caplog.text
    assert ["halt"] == [fields["act"] for fields in await said(disk, kept) if fields["kind"] == "act"]
