"""What every test gets: a clean environment, a watched event loop, a private state directory."""

import asyncio
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
import structlog  # noqa: F401  now, not at the first log line: with `rich` beside it, it looks for its folder then
from blockbuster import BlockBusterFunction, blockbuster_ctx
from hypothesis import HealthCheck, Phase, settings

from proxy import eventloop
from proxy.simulator import ca
from proxy.simulator.questrade.options import clock
from proxy.store.postgres import PostgresStore
from tests.database import Bouncer, Missing, Server
from tests.database import start as start_postgres
from tests.product import LOOP
from tests.wire import ScriptedBroker

# fast: the same examples in each run, so that a red run can be had again; deep: `make soak`; brief: as fast, but no
# smaller example is looked for once a test has failed.
settings.register_profile(
    "fast", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("brief", settings.get_profile("fast"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("fast")

LOOPS: tuple[eventloop.Choice, ...] = ("uvloop", "asyncio")

_SETTINGS = ("BEARERD_", "XDG_", "CLICOLOR")
_SETTINGS_BY_NAME = {"NO_COLOR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--loop",
        choices=LOOPS,
        default=LOOPS[0],
        help="The event loop of the tests, and of the processes that they start. Virtual time has one of its own.",
    )


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, eventloop.Factory]:
    """One loop for all; both for the tests of a file that says `BOTH_LOOPS = True`."""
    module = item.getparent(pytest.Module)
    if getattr(getattr(module, "obj", None), "BOTH_LOOPS", False):
        return {name: eventloop.factory(name) for name in LOOPS}
    chosen = config.getoption("--loop")
    return {chosen: eventloop.factory(chosen)}


def pytest_configure(config: pytest.Config) -> None:
    """The person's own settings must not reach the product under test, nor a proxy the clients that call it."""
    for name in list(os.environ):
        if name.startswith(_SETTINGS) or name in _SETTINGS_BY_NAME or name.lower().endswith("_proxy"):
            del os.environ[name]
    if config.getoption("--loop") != LOOPS[0]:
        os.environ[LOOP] = config.getoption("--loop")
    # What is ignored stays so in every program that a test starts, and in the background, or under nohup, much is.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection() -> None:
    """Ten thousand tests are made and stay: to look again and again which of them are garbage is in vain."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The image first: it takes a minute, and of what several processes run, the longest must not be begun last."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/test_image.py"))


def pytest_collection_finish() -> None:
    """What is there now is not looked at any more, only what tests make."""
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The run of the timing tests alone need not import all the others."""
    alone = config.option.markexpr.startswith("timing") and collection_path.name.startswith("test_")
    return True if alone and "mark.timing" not in collection_path.read_text("utf-8") else None


@pytest.fixture(scope="session", autouse=True)
def _no_blocking() -> Iterator[None]:
    """A test fails if code of ours blocks the event loop: files, syncs, sqlite, sleep. Threads may.

    One watch for all tests: to set up sixty functions and take them back costs more than most tests do.
    """
    with blockbuster_ctx("proxy") as watch:
        syncs = [BlockBusterFunction(None, f"os.{name}", scanned_modules="proxy") for name in ("fsync", "fdatasync")]
        watch.functions |= {sync.full_name: sync.activate() for sync in syncs}
        yield


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """An empty directory of mode 0700. Its path is short, since a unix socket's is limited to about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="brd-") as name:
        yield Path(name).resolve()


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """`program("curl")` is its path. A test whose program is missing is skipped, except in CI, where it fails."""

    def find(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin")  # not in the PATH of ordinary users
        return path if path is not None else _missing(f"{name} is not on this machine")

    return find


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI runs everything")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running PostgreSQL for all tests of this process. Whoever stops it starts it again.

    A test that needs other settings, or kills the server under load, has `tests.database.start()` make one of its own.
    """
    try:
        server = start_postgres()
    except Missing as reason:
        _missing(str(reason))
    yield server
    server.stop()
    server.remove()


@pytest.fixture
async def database(postgres: Server) -> AsyncIterator[str]:
    """The address of a new database with our tables in it."""
    if not postgres.running:  # a test before this one failed half-way
        postgres.start()
    dsn = postgres.create()
    await PostgresStore.migrate(dsn)
    yield dsn
    await asyncio.to_thread(postgres.drop, dsn)


@pytest.fixture
def bouncer(program: Callable[[str], str], postgres: Server) -> Iterator[Bouncer]:
    """A PgBouncer in transaction mode, with two server connections a database: `bouncer.through(database)`."""
    bouncer = Bouncer(program("pgbouncer"), postgres)
    bouncer.start()
    yield bouncer
    bouncer.remove()


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """`figure("0.4 s to ready")` puts a measured figure into the summary of the run, also of one in parallel."""
    return lambda text: record_property("figure", str(text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests have measured, passed or failed."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, text in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {text}")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ca.Authority:
    """A throw-away certificate authority, with a server certificate for this machine."""
    return ca.create(tmp_path_factory.mktemp("ca"), now=clock())


@pytest.fixture
async def broker(authority: ca.Authority) -> AsyncIterator[ScriptedBroker]:
    """A broker that does on real TLS sockets what its script says."""
    broker = ScriptedBroker(authority.tls)
    await broker.start()
    yield broker
    await broker.stop()
