"""The product as it is delivered: commands in processes of their own, its demo, and the control address of a simulator.

Everything here blocks. Where the event loop has other work meanwhile, call it by `asyncio.to_thread`.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self
from urllib.parse import urlsplit

from tests.forks import Forge, Fork

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-P", "-m", "proxy")
ACCOUNT = "26598145"  # of the simulated Questrade
LOOP = "BEARERD_ENGINE__LOOP"  # set where the tests run on another event loop than the usual one
START = 40.0  # seconds that a command may take, on a busy machine
STOP = 10.0  # seconds that the product may take to end after SIGTERM; what the demo promises


def surroundings(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: nothing of the person who runs the tests but where programs are."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", LOOP) if name in os.environ}
    ours = {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    return kept | ours | dict(more or {})


_FORGE = Forge(surroundings(ROOT))


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        return self.out + self.err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def run(home: Path, *arguments: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> Done:
    """`bearerd ARGUMENTS` to its end, in a home directory, without a terminal. A process of its own: see `forks.py`."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        streams = [given.fileno(), out.fileno(), err.fileno()]
        process = _FORGE.run(arguments, home, surroundings(home, environ), streams)
        try:
            code = process.wait(START)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Done(code, *(_written(file) for file in (out, err)))


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class Program:
    """`bearerd ARGUMENTS`, running in a home directory. Its output goes to files there, so that no pipe can fill.

    `command`: another program than bearerd; or `COMMAND`, if the start of the interpreter belongs to the test.
    `sink`: a descriptor that its stderr is to be, instead of a file; `keep`: others that a `command` inherits.
    """

    def __init__(
        self,
        home: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
        sink: int | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        number = len(list(home.glob("*.stdout")))
        self.stdout, self.stderr = home / f"{number}.stdout", home / f"{number}.stderr"
        with Path(os.devnull).open("rb") as stdin, self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            streams = [stdin.fileno(), stdout.fileno(), stderr.fileno() if sink is None else sink]
            environ = surroundings(home, environ)
            if command:
                self._process: subprocess.Popen[bytes] | Fork = subprocess.Popen(
                    [*command, *arguments],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=streams[2],
                    cwd=home,
                    env=environ,
                    pass_fds=keep,
                )
            else:
                self._process = _FORGE.run(arguments, home, environ, streams)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    @property
    def out(self) -> str:
        return self.stdout.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self.stderr.read_text(errors="replace")

    @property
    def output(self) -> str:
        """Everything that it has printed so far, to stdout and to stderr."""
        return self.out + self.err

    def until(self, text: str) -> None:
        """Return when `text` stands in its output. AssertionError if it ends before, or takes too long."""
        self._wait(lambda: text in self.output, text)

    def document(self) -> dict[str, Any]:
        """The one line of JSON that `--json` prints on stdout when everything is ready."""
        self._wait(lambda: "\n" in self.out, "a line on stdout")
        found: dict[str, Any] = json.loads(self.out.partition("\n")[0])
        return found

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + START
        while True:
            code = self.code
            if ready():
                return
            assert code is None, f"it ended with {code}:\n{self.output}"
            assert time.monotonic() < end, f"not within {START} s: {what!r} in\n{self.output}"
            time.sleep(0.01)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, seconds: float = START) -> int:
        """Its exit code, once it ends by itself. After `seconds` it is killed, and this raises."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """`kill -9`, and wait for it to be gone."""
        self._process.kill()
        self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """A signal, as a rule SIGTERM; its exit code."""
        self.send_signal(number)
        return self.end(STOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def demo(home: Path, *arguments: str, command: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A running `bearerd demo`, as the document that it printed; ended by SIGTERM, which must work."""
    program = Program(home, "demo", "--json", "--port", "0", *arguments, command=command)
    try:
        yield program.document()
    finally:
        code = program.stop()
    assert 0 == code, program.output


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are lower case; `raw` is what came, head and body, where it was read as bytes."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    raw: bytes = field(default=b"", repr=False)

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def ours(self) -> str | None:
        """The name of bearerd's own refusal; None if the broker has answered."""
        _, found, name = self.headers.get("proxy-status", "").partition('details="')
        return name.rstrip('"') if found else None


def send(method: str, url: str, body: object = None, **headers: str) -> Reply:
    """One request, its target untouched. A `body` goes as JSON."""
    return send_bytes(method, url, None if body is None else json.dumps(body).encode(), **headers)


def send_bytes(method: str, url: str, content: bytes | None, **headers: str) -> Reply:
    """One request, target and body untouched."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, url.removeprefix(f"http://{parts.netloc}") or "/", content, headers)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def state(control: str, broker: str = "questrade") -> dict[str, Any]:
    """A simulated broker's counters."""
    found: dict[str, Any] = send("GET", f"{control}/state").document[broker]
    return found


def command(control: str, path: str, broker: str = "questrade", **fields: object) -> None:
    """Tell the simulator to do something."""
    reply = send("POST", control + path, {"broker": broker, **fields})
    assert 200 == reply.status, reply.body


def new_refresh_token(simulator: Mapping[str, Any]) -> str:
    """What a person gets on Questrade's page. `simulator`: the document of `bearerd simulate --json`."""
    page = simulator["token_url"].removesuffix("/oauth2/token") + "/APIAccess/UserApps.aspx"
    trust = ssl.create_default_context(cafile=simulator["ca_file"])
    request = urllib.request.Request(page, data=b"", headers={"User-Agent": "person/1"})  # noqa: S310
    with urllib.request.urlopen(request, context=trust, timeout=10) as answer:  # noqa: S310
        found = re.search(r"<code>([^<&]+)</code>", answer.read().decode())
    assert found is not None
    return found[1]
