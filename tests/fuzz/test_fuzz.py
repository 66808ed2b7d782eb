"""What the fuzzer has found so far holds, and it finds nothing that does not."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.fuzz import fuzz
from tests.fuzz.harness import HARNESSES, headers, target

SECONDS = 150  # of looking, for each harness, in `make soak`


@pytest.mark.parametrize("name", sorted(HARNESSES))
def test_every_kept_input_holds(name: str, figure: Callable[[object], None]) -> None:
    """The corpus that coverage has led to, again."""
    kept = fuzz.read(name)
    for data in kept:
        HARNESSES[name](data)
    figure(f"{len(kept)} inputs")
    assert {"plainhead": 8}.get(name, 30) <= len(kept)


@pytest.mark.parametrize("data", [b"", b"a\\b\xff\x00\n", bytes(range(256))])
def test_an_input_is_kept_as_it_is(data: bytes) -> None:
    """One line of printable ASCII each, and the same bytes when it is read."""
    line = fuzz.escape(data)
    assert re.fullmatch("[ -~]*", line)
    assert data == fuzz.unescape(line)


def test_a_harness_breaks_where_a_promise_is_broken() -> None:
    """The proof that it looks: with one promise more than is kept, an input breaks it."""
    target(b"\x80/v1/accounts")
    headers(b"Accept: a")
    with pytest.raises(AssertionError):
        target(b"\x80/v1/accounts", longest=1)
    with pytest.raises(AssertionError):
        headers(b"Accept: a", never=frozenset({b"accept"}))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(HARNESSES))
def test_the_fuzzer_finds_nothing(name: str, figure: Callable[[object], None]) -> None:
    """Led by coverage, from the corpus on, for some minutes."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this machine")
    command = [sys.executable, fuzz.__file__, name, f"-max_total_time={SECONDS}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    runs = re.search(r"number_of_executed_units: +(\d+)", said)
    figure(f"{runs[1] if runs else '?'} inputs tried")
    assert 0 == done.returncode, said[-3000:]
    assert runs is not None
    assert int(runs[1]) > 10_000
