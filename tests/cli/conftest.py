"""People at a command line, and one simulator for all tests of a session."""

import re
import shutil
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Person, line_of


@pytest.fixture
def person(state_dir: Path) -> Iterator[Person]:
    """A person with an empty home directory."""
    found = Person(state_dir)
    yield found
    found.close()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `bearerd simulate --json` says, of one that runs as long as the tests."""
    owner = Person(tmp_path_factory.mktemp("simulator"))
    yield line_of(owner.start("simulate", "--json", "--expires-in", "600"))
    owner.close()


@pytest.fixture(scope="session")
def ready_home(simulator: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory after `bearerd init`, to copy from."""
    owner = Person(tmp_path_factory.mktemp("home"))
    owner.write_config("simulator", {"questrade": {"environments": {"simulator": simulator["environment"]}}})
    done = owner.run("init")
    assert 0 == done.code, done.err
    return owner.home


@pytest.fixture
def customer(person: Person, ready_home: Path) -> Person:
    """A person with a configuration for the simulator, a master key, and a store with one client."""
    shutil.copytree(ready_home, person.home, dirs_exist_ok=True)
    return person


@pytest.fixture
def new_token(simulator: dict[str, Any]) -> str:
    """A refresh token that nobody has used, from the simulated App Hub."""
    page = simulator["token_url"].removesuffix("/oauth2/token") + "/APIAccess/UserApps.aspx"
    trust = ssl.create_default_context(cafile=simulator["ca_file"])
    request = urllib.request.Request(page, data=b"", headers={"User-Agent": "person/1"})  # noqa: S310
    with urllib.request.urlopen(request, context=trust, timeout=10) as answer:  # noqa: S310
        found = re.search(r"<code>([^<&]+)</code>", answer.read().decode())
    assert found is not None
    return found[1]
