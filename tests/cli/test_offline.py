"""Commands without a server, under the lock of the state directory."""

import asyncio
import fcntl
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cli.invocation import Invocation
from proxy.cli.offline import Offline, carry_out, opened
from proxy.config import Tcp, Unix
from proxy.settings import Settings


async def nobody() -> bool:
    """No server has come up."""
    return False


async def somebody() -> bool:
    """A server has come up."""
    return True


async def test_a_server_that_comes_up_is_asked_instead(invocation: Invocation, settings: Settings) -> None:
    """Its lock is no error then."""
    async with opened(invocation, settings, nobody), opened(invocation, settings, somebody) as custody:
        assert custody is None


async def test_another_command_is_waited_for(invocation: Invocation, settings: Settings) -> None:
    """Whoever holds the directory's lock for a moment is no reason to fail."""
    async with opened(invocation, settings, nobody):
        pass
    lock = await asyncio.to_thread((settings.config.state_dir / "journal.lock").open, "r+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    asyncio.get_running_loop().call_later(0.3, lock.close)

    async with opened(invocation, settings, nobody) as custody:
        assert custody is not None
        assert lock.closed


async def test_a_command_sees_its_own_mount_only(invocation: Invocation, settings: Settings) -> None:
    """Revoking what was never logged in tells nobody, and keeps nothing."""
    done = await carry_out(invocation, settings, "revoke", {"mount": "questrade"}, mount="questrade", superseded=nobody)

    assert done is not None
    assert ("family", False) == (done["grant"], done["broker_told"])


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        ((Tcp("127.0.0.1", 8081),), "http://127.0.0.1:8081/"),
        ((Unix(Path("/run/console.sock")), Tcp("0.0.0.0", 8082)), "http://127.0.0.1:8082/"),
        ((Tcp("127.0.0.1", 0),), None),
        ((), None),
    ],
    ids=range(4),
)
async def test_a_login_comes_back_to_where_the_console_will_be(
    invocation: Invocation, settings: Settings, console: tuple[Tcp | Unix, ...], expected: str | None
) -> None:
    """If that is known before a server runs."""
    known = replace(settings, config=settings.config.model_copy(update={"console": console}))
    async with opened(invocation, settings, nobody) as custody:
        assert custody is not None

        assert expected == Offline(known, custody, lambda: known).console_address
