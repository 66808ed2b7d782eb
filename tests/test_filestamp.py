"""What tells a file from the one that takes its place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.filestamp import stamp, stamp_of


def _written_over(file: Path) -> None:
    before = file.stat()
    file.write_bytes(b"b" * 10)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _put_in_its_place(file: Path) -> None:
    new = file.with_name("new")
    new.write_bytes(b"b" * 10)
    shutil.copystat(file, new)
    new.replace(file)


@pytest.mark.parametrize("change", [_written_over, _put_in_its_place], ids=["written over", "put in its place"])
def test_another_file_is_told(change: Callable[[Path], None], tmp_path: Path) -> None:
    """Though its size and time are those of the one before."""
    file = tmp_path / "ca.pem"
    file.write_bytes(b"a" * 10)
    before = stamp(file)
    change(file)

    assert before[3:5] == stamp(file)[3:5]
    assert before != stamp(file)


def test_a_file_that_stays_keeps_its_stamp(tmp_path: Path) -> None:
    """However often it is read; what is not there has none."""
    file = tmp_path / "ca.pem"
    file.write_bytes(b"a")
    before = stamp_of(str(file))
    file.read_bytes()

    assert before == stamp(file)
    assert (None, None) == (stamp_of(None), stamp_of(str(tmp_path / "none.pem")))
