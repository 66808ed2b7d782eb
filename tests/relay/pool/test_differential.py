"""Answers of brokers through both upstreams: a client sees no difference."""

from collections.abc import Callable, Iterable
from itertools import chain

import pytest

from tests import differential
from tests.differential import Told, both, difference

Figure = Callable[[object], None]


async def differences(cases: Iterable[Told], *, idle: float = 5.0, after: bool = True) -> tuple[int, list[str]]:
    count, found = 0, []
    async with both(total=5.0, idle=idle) as labs:
        for told in cases:
            count += 1
            if (fault := await difference(labs, told, after=after)) is not None:
                found.append(fault)
    return count, found


async def test_hostile_answers_are_the_same_to_a_client(figure: Figure) -> None:
    """Each list of `hostile`, as the answer to what it was made for; and good answers a byte at a time."""
    count, faults = await differences(chain(differential.from_lists(), differential.drips()), after=False)
    figure(f"{count} answers")
    assert not faults, "\n".join(faults)
    assert 300 <= count


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(lambda: differential.cuts(every=11), id="cuts"),
        pytest.param(lambda: differential.splits(every=9), id="splits"),
        pytest.param(differential.moments, id="moments"),
        pytest.param(lambda: differential.generated(120), id="generated"),
    ],
)
async def test_answers_at_odd_moments_are_the_same_to_a_client(
    cases: Callable[[], Iterable[Told]], figure: Figure
) -> None:
    """Cut off, in two pieces, early, on used connections, put together by chance."""
    count, faults = await differences(cases())
    figure(f"{count} answers")
    assert not faults, "\n".join(faults)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(lambda: differential.from_lists("order"), id="lists, to orders"),
        pytest.param(lambda: differential.from_lists("stream"), id="lists, to streams"),
        pytest.param(differential.cuts, id="cuts at every byte"),
        pytest.param(differential.splits, id="splits at every byte"),
        pytest.param(differential.drips, id="bytes"),
        pytest.param(lambda: differential.generated(4000, seed=11), id="generated"),
    ],
)
async def test_all_answers_are_the_same_to_a_client(cases: Callable[[], Iterable[Told]], figure: Figure) -> None:
    """The full form."""
    count, faults = await differences(cases())
    figure(f"{count} answers")
    assert not faults, "\n".join(faults)


@pytest.mark.soak
async def test_silences_are_the_same_to_a_client(figure: Figure) -> None:
    """Answers that stop end in the same time-out."""
    count, faults = await differences(differential.silences(), idle=0.3)
    figure(f"{count} answers")
    assert not faults, "\n".join(faults)
