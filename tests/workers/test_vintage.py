"""Processes of one server are of one version."""

import pytest

from proxy import __version__
from proxy.workers import vintage


def test_the_same_version_is_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said."""
    assert not vintage.differs(__version__)
    assert "" == capsys.readouterr().err


@pytest.mark.parametrize("version", ["0.0.9", "9.0.0", ""])
def test_another_one_is_said_by_name(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both versions, and what to do."""
    assert vintage.differs(version)
    assert f"the server that runs is {version}: restart it" in capsys.readouterr().err
