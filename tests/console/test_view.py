"""What the console asks of the server: how it is told what can't be done, and what waits at the end."""

import asyncio
import contextlib

import pytest

from proxy.admin import NotPossible
from proxy.config import ConfigInvalid, Mark
from proxy.config import Problem as Fault
from proxy.console.view import Asking, Problem
from proxy.store import StoreError
from proxy.tokens.errands import LoginFailed
from tests.console.visitor import View


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotPossible("no", "bearerd status"), ("no", "bearerd status", 409)),
        (LoginFailed("the broker's no"), ("the broker's no", None, 409)),
        (ConfigInvalid([Fault(Mark(2, 3), "a", "is odd")], "c.yaml"), None),
        (StoreError("locked"), ("locked", None, 503)),
        (OSError(28, "No space left on device"), ("No space left on device", None, 503)),
    ],
    ids=["not possible", "login failed", "configuration", "store", "system"],
)
async def test_a_no_is_told(error: Exception, expected: tuple[str, str | None, int] | None) -> None:
    """In the words of whoever says it, without its causes."""
    with pytest.raises(Problem) as failed:
        await Asking(View(problem=error)).do("halt", {})
    problem = failed.value
    assert (expected or (str(error), None, 409)) == (problem.message, problem.fix, problem.status)
    assert None is problem.__cause__


async def test_a_fault_of_ours_is_no_no() -> None:
    """It goes where faults go."""
    with pytest.raises(ZeroDivisionError):
        await Asking(View(problem=ZeroDivisionError())).do("halt", {})


async def test_who_leaves_ends_nothing() -> None:
    """And the end waits for what is under way."""
    view = View(slow=asyncio.Event())
    asking = Asking(view)
    asked = asyncio.ensure_future(asking.do("reload", {}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    assert [("reload", {})] == view.acted
    closing = asyncio.ensure_future(asking.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    assert view.slow is not None
    view.slow.set()
    await closing
    assert [("reload", {}), ("ended", {})] == view.acted
    with pytest.raises(Problem, match="shutting down"):
        await asking.do("reload", {})
    await asking.close()


async def test_what_does_not_end_is_ended() -> None:
    """A stop does not wait for ever."""
    view = View(slow=asyncio.Event())
    asking = Asking(view, grace=0.01)
    asked = asyncio.ensure_future(asking.do("reload", {}))
    await asyncio.sleep(0.01)
    await asking.close()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert [("reload", {})] == view.acted
