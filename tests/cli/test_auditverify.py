"""Which trails are verified, and what is said of those that are not there."""

import asyncio
import shutil
from pathlib import Path

import pytest

from proxy.audit.verify import Findings
from proxy.cli.auditverify import verified
from proxy.cli.exits import Stop
from proxy.cli.invocation import Invocation
from proxy.custody import Custody, audit_path, journal_path
from tests.cli.trails import write


def look(invocation: Invocation) -> dict[str, Findings]:
    return dict(asyncio.run(verified(invocation, invocation.settings())))


def root(invocation: Invocation) -> Path:
    return audit_path(invocation.settings().config)


def test_a_trail_that_is_gone_is_missed(invocation: Invocation) -> None:
    """The store has noted its end."""
    write(invocation)
    (name,) = look(invocation)
    shutil.rmtree(root(invocation))
    (fault,) = look(invocation)[name].faults
    assert "all of its files are missing" == fault.problem


def test_every_trail_of_the_directory_is_verified(invocation: Invocation) -> None:
    """A new journal is a new install, with a chain of its own; the old one may go, and is not missed then."""
    write(invocation)
    config = invocation.settings().config
    (old,) = look(invocation)
    journal_path(config).unlink()
    write(invocation)
    found = look(invocation)
    assert (2, []) == (len(found), [fault for each in found.values() for fault in each.faults])
    shutil.rmtree(root(invocation) / old)
    found = look(invocation)
    assert ([], True) == (found[old].faults, "another machine's" in found[old].notes[0])


def test_a_trail_of_another_store_is_not_taken_for_ours(invocation: Invocation) -> None:
    """It was made under another secret, or its first file was changed."""
    write(invocation)
    (name,) = look(invocation)
    (root(invocation) / name).rename(root(invocation) / ("0" * 16))
    problems = {key: [fault.problem for fault in each.faults] for key, each in look(invocation).items()}
    assert ["it is not of this store, or its first file was changed"] == problems["0" * 16]
    assert ["all of its files are missing"] == problems[name]


def test_without_a_trail_there_is_nothing_to_verify(invocation: Invocation) -> None:
    """A store that nobody has used yet."""
    config = invocation.settings().config

    async def make() -> None:
        await (await Custody.open(config, invocation.source(config))).close()

    asyncio.run(make())
    with pytest.raises(Stop, match="no audit trail"):
        look(invocation)
