"""People at a command line, and one simulator for all tests of a session."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.invocation import Invocation
from proxy.settings import Settings
from proxy.store.keys import Source
from tests.cli.support import Person
from tests.product import Program, new_refresh_token


@pytest.fixture
def person(state_dir: Path) -> Iterator[Person]:
    """A person with an empty home directory."""
    found = Person(state_dir)
    yield found
    found.close()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `bearerd simulate --json` says, of one that runs as long as the tests."""
    with Program(tmp_path_factory.mktemp("simulator"), "simulate", "--json", "--expires-in", "600") as running:
        yield running.document()


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
    return new_refresh_token(simulator)


@pytest.fixture
def invocation(person: Person) -> Invocation:
    """Somebody with a configuration and a master key, and no server. The mount `questrade` uses the grant `family`."""
    path = person.write_config(**{"    environment: live": "    environment: live\n    grant: family"})
    found = Invocation(path, environ={"HOME": str(person.home)})
    config = found.settings().config
    Source(config.key, config.base).create()
    return found


@pytest.fixture
def settings(invocation: Invocation) -> Settings:
    return invocation.settings()
