"""Commands without a server, under the lock of the state directory."""

import asyncio
import fcntl

from proxy.cli.invocation import Invocation
from proxy.cli.offline import carry_out, opened
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
