"""Some of everything through both lanes, for each run; all of it is in the files beside this one, for `make soak`."""

from collections.abc import Callable

from tests.lanes import test_answers, test_changes, test_clients, test_requests
from tests.lanes.scene import Scene, both
from tests.test_framing import ATTACKS

PLAYS = (
    test_requests.heads, test_requests.framings(ATTACKS[::16]), test_answers.honest_ones, test_answers.hostile_ones,
    test_answers.echoes, test_clients.pipelined, test_clients.last_ones, test_clients.cut_anywhere(9),
    test_changes.usual,
)  # fmt: skip
CHANGES = (
    "the key is gone",
    "the key has expired",
    "the client has no scope",
    "the mount is gone",
    "another host",
    "draining",
    "rotated",
)


async def some(scene: Scene) -> None:
    for play in PLAYS:
        await play(scene)
    scene.share = 1
    await test_answers.refused_tokens(scene)
    await test_changes.changed(CHANGES)(scene)


async def test_both_lanes_do_the_same(figure: Callable[[object], None]) -> None:
    """Answers to the byte, what reaches the broker, the audit trail, the metrics and the log."""
    faults, seen = await both(some, share=14)
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert seen.taken > seen.calls / 2


async def test_a_door_that_closes_lets_both_lanes_end(figure: Callable[[object], None]) -> None:
    """Calls under way get their answers, of whatever kind those are."""
    faults, seen = await both(test_changes.closing)
    figure(f"{seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert seen.taken
