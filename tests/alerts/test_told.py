"""What was told outlasts a restart; a file that can't be trusted is passed over."""

import json
import stat
from pathlib import Path

import pytest

from proxy.alerts import told
from tests.alerts.receivers import trouble

KEY = "login-needed/questrade"


def test_it_comes_back_and_is_nobody_elses_to_read(state_dir: Path) -> None:
    """Mode 0600, hook by hook; who was told nothing is not in it."""
    file = state_dir / told.NAME
    told.save(file, {"ops": {KEY: trouble()}, "pager": {}})
    told.save(file, {"ops": {KEY: trouble()}, "pager": {}})
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    found = told.load(file)
    assert ({"ops"}, trouble().record()) == (set(found), found["ops"][KEY].record())


@pytest.mark.parametrize(
    "text",
    [
        "", '{"format":1,"told":{"ops":[{"ev', "[]", "null", '{"format":2,"told":{"ops":[{}]}}', '{"format":1}',
        '{"format":1,"told":{"ops":[{}]}}', '{"format":1,"told":[1]}', "[" * 100_000,
    ],
    ids=["empty", "torn", "list", "null", "newer", "half", "odd", "odder", "deep"],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_passed_over(text: str, state_dir: Path) -> None:
    """Then nothing was told, and the next save makes it whole."""
    file = state_dir / told.NAME
    file.write_text(text)
    file.chmod(0o600)
    assert {} == told.load(file)
    told.save(file, {"ops": {KEY: trouble()}})
    assert 1 == json.loads(file.read_text())["format"]


@pytest.mark.parametrize("since", ["Infinity", "NaN", "-1", "1e300"])
def test_a_time_that_makes_no_sense_is_passed_over(since: str, state_dir: Path) -> None:
    """It could not be put into words, at any look from then on."""
    file = state_dir / told.NAME
    told.save(file, {"ops": {KEY: trouble()}})
    file.write_text(file.read_text().replace("1799999000.0", since))
    assert {} == told.load(file)


def test_a_file_that_others_could_have_written_is_passed_over(state_dir: Path) -> None:
    """And so are a link and a directory; one that is not there is no fault at all."""
    file = state_dir / told.NAME
    assert {} == told.load(file)
    told.save(file, {"ops": {KEY: trouble()}})
    file.chmod(0o666)
    assert {} == told.load(file)
    file.unlink()
    file.symlink_to(state_dir / "elsewhere")
    assert {} == told.load(file)
