"""Operators' acts in the audit trail, asked for as the command line does; and the whole product on a full disk."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import CommandFailed, call, held
from proxy.audit.reading import directories, records
from proxy.store.files import SystemFiles
from tests.house import ACCOUNT, House, house

US = f"uid {os.geteuid()}"


class FullDisk(SystemFiles):
    """The machine's disk, on which there is no room."""

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:  # noqa: ARG002  wherever it is
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def ask(home: House, command: str, **params: Any) -> dict[str, Any]:
    return await call(home.file.parent / "admin.sock", command, params, timeout=10)


async def acts(home: House) -> list[tuple[Any, ...]]:
    """Every act on the disk: what, by whom, how it ended, what about."""
    (trail,) = await asyncio.to_thread(directories, home.file.parent / "audit")
    found = await asyncio.to_thread(lambda: list(records(trail)))
    names = ("act", "who", "outcome", "about")
    return [tuple(fields[name] for name in names) for fields in found if fields["kind"] == "act"]


async def test_every_act_is_on_the_disk_when_it_is_answered(state_dir: Path) -> None:
    """With who asked for it, and how it ended; what only looks is no act, and no token or key is in any record."""
    async with house(state_dir, login=False) as home:
        token = home.simulator.links().refresh_token or ""
        made = await ask(home, "clients-add", name="bot")
        await ask(home, "status")
        with pytest.raises(CommandFailed):
            await ask(home, "clients-add", name="Not a name")
        await ask(home, "halt", mount="questrade", reason="lunch", by="ann")
        await ask(home, "resume", mount="questrade", reason="eaten", by="ann")
        await ask(home, "reload")
        async with held(home.file.parent / "admin.sock", "lend", {"client": "bot", "digest": "0" * 64}, timeout=10):
            pass
        await ask(home, "clients-remove", name="bot")
        await ask(home, "login", mount="questrade", token=token)
        await ask(home, "revoke", mount="questrade")
        assert [
            ("clients-add", US, "done", {"name": "bot"}),
            ("clients-add", US, "failed", {"name": "Not a name"}),
            ("halt", US, "done", {"mount": "questrade", "reason": "lunch", "by": "ann"}),
            ("resume", US, "done", {"mount": "questrade", "reason": "eaten", "by": "ann"}),
            ("reload", US, "done", {"changed": [], "changes": []}),
            ("lend", US, "done", {"client": "bot"}),
            ("clients-remove", US, "done", {"name": "bot"}),
            ("login", US, "done", {"mount": "questrade"}),
            ("revoke", US, "done", {"mount": "questrade"}),
        ] == await acts(home)
        trail = b"".join(path.read_bytes() for path in sorted((state_dir / "audit").rglob("*.jsonl")))
        for secret in (token, made["key"], home.key, "0" * 64):
            assert secret.encode() not in trail


async def test_a_full_disk_stops_orders_and_what_widens_rights(state_dir: Path) -> None:
    """Reads, halts and cancels go on; status, readiness and metrics tell; afterwards everything goes on by itself."""
    async with house(state_dir) as home:
        trail = home.app.custody.trail
        trail._file._files = FullDisk()
        assert (503, "audit-unavailable") == (await home.order()).problem
        assert 0 == home.seen("orders")
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        assert 404 == (await home.call("DELETE", f"{ACCOUNT}/orders/1")).status
        status = await ask(home, "status")
        assert ("degraded", "No space left on device") == (status["ready"], status["audit"]["fault"])
        assert any("orders are refused: No space left on device" in warning for warning in status["warnings"])
        assert "[-]audit trail can't be written: No space left on device" in home.app.operations.ready()[1]
        assert b"bearerd_audit_failing 1.0" in home.app.rendered_metrics()
        for widens in ("clients-add", "login", "resume"):
            with pytest.raises(CommandFailed, match="audit trail can't be written"):
                await ask(home, widens, name="bot", mount="questrade", token="t", reason="r")
        with pytest.raises(CommandFailed, match="audit trail can't be written"):
            async with held(home.file.parent / "admin.sock", "lend", {"client": "bot", "digest": "0" * 64}, timeout=10):
                pass
        await ask(home, "halt", mount="questrade", reason="full disk", by="ann")

        trail._file._files = SystemFiles()
        async with asyncio.timeout(5):
            while trail.standing.fault:  # noqa: ASYNC110  the server's own doing
                await asyncio.sleep(0.05)
        assert ("halt", US, "done") in [act[:3] for act in await acts(home)]
        await ask(home, "resume", mount="questrade", reason="room again", by="ann")
        assert 200 == (await home.order()).status
        metrics = home.app.rendered_metrics()
        assert b"bearerd_audit_failing 0.0" in metrics
        assert b"bearerd_audit_records_lost_total 0.0" in metrics
