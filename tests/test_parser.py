"""A parser that would take requests that we must refuse is not served with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.parser import UnsafeParser, check_parser


def test_this_machine_has_the_parser_that_we_need() -> None:
    """The installed aiohttp passes."""
    check_parser()


@pytest.mark.parametrize("version", ["3.14.4", "3.13.9", "2.99.0"])
def test_an_old_aiohttp_is_refused(version: str) -> None:
    """Older versions take requests that we must refuse; the message says what to install."""
    with pytest.raises(UnsafeParser, match=rf"aiohttp {version} is too old; install 3\.14\.5 or newer"):
        check_parser(version)


def test_the_parser_in_python_is_refused() -> None:
    """Without its C extension aiohttp takes other requests than the ones that were examined."""
    code = "from proxy.parser import check_parser; check_parser()"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"AIOHTTP_NO_EXTENSIONS": "1"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == ran.returncode
    assert "without its C parser" in ran.stderr
