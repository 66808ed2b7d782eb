"""The faults that are planted into the code that decides: one change each, and after it the source is whole again."""

import ast

import pytest

from tests import mutants

SOURCE = '''
Kind = Literal["one", "other"]
def f(a: int = 1) -> str:
    """A sentence that stays."""
    if not a or a < 2 and a in (3, 4):
        raise ValueError("a sentence stays too")
    return ",".join(str(b + 1) for b in (5,) if b)
'''


def test_each_fault_is_one_change() -> None:
    """Of conditions, constants, operators and statements; not of types, docstrings or sentences."""
    found = [change for _, change, _ in mutants.faults(SOURCE)]

    for change in ("a < 2 → a <= 2", "a in (3, 4) → a not in (3, 4)", "not a → a", "3 → 4", "b + 1 → b - 1"):
        assert change in found
    assert any(change.startswith("raise ValueError") and change.endswith("pass") for change in found)
    assert "',' → ',~'" in found
    assert not any(change.startswith(("'A sentence", "'a sentence", "'one'", "'other'")) for change in found)


def test_the_source_is_whole_again_after_each_fault() -> None:
    """Every faulty tree differs from the source, and the last one leaves nothing behind."""
    whole = ast.dump(ast.parse(SOURCE))
    last = None
    for _, _, tree in mutants.faults(SOURCE):
        assert whole != ast.dump(tree)
        last = tree
    assert last is not None
    assert whole == ast.dump(last)


@pytest.mark.parametrize("name", sorted(mutants.FILES))
def test_the_files_and_their_tests_are_there(name: str) -> None:
    """A file that is renamed would drop out of the score."""
    assert (mutants.ROOT / "proxy" / name).exists()
    for tests in mutants.FILES[name]:
        assert tests
        assert all((mutants.ROOT / "tests" / test).exists() for test in tests)
