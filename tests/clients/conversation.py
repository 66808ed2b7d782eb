"""A real client in a process of its own, and what is said to it: one line of JSON each way.

`scripts/converse.py` and `scripts/converse.cjs` are the other side. They import the package as it was installed and do
nothing but call what they are told to.
"""

import json
import select
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PATIENCE = 30.0  # seconds; longer than the time limits of the clients


@dataclass(slots=True)
class Failed(Exception):
    """The client raised. `kind` is the exception's name, `answer` the body of the HTTP answer that it carries."""

    kind: str
    text: str
    answer: str | None = None
    printed: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Read:
    """One call of a client's method: what of the result is looked at, and what that has to be.

    In a table the method's name is the key; what follows a comma tells two rows of one method apart.
    """

    expected: object
    look: Callable[[Any], object]
    arguments: Sequence[object] = ()
    options: Mapping[str, object] = field(default_factory=dict)


def at(path: str) -> Callable[[Any], object]:
    """What stands at a path such as `orders/*/symbol`: names and numbers go down, `*` goes into each, `#` counts."""

    def look(found: Any) -> object:
        return _at(found, path.split("/") if path else [])

    return look


def _at(found: Any, steps: Sequence[str]) -> object:
    if not steps:
        return found
    step, *rest = steps
    if step == "#":
        return len(found)
    if step == "*":
        each = found.values() if isinstance(found, dict) else found
        return [_at(one, rest) for one in each]
    return _at(found[int(step)] if isinstance(found, list) else found[step], rest)


def bare(method: str) -> str:
    """`get_quotes, one` → `get_quotes`."""
    return method.partition(",")[0]


class Conversation:
    """One client. It can be asked many times, one question after the other."""

    def __init__(self, process: "subprocess.Popen[str]", home: Path) -> None:
        self.home = home
        # `$NAME` as an argument stands for what this says; for what tests cannot know when they are written.
        self.words: dict[str, object] = {}
        self._process = process

    @classmethod
    def open(cls, command: Sequence[str], home: Path, environ: Mapping[str, str]) -> Self:
        """Start it with `home` as its home and working directory, and with nothing but `environ` around it."""
        with (home / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=home,
                env={"HOME": str(home), "TZ": "UTC", "PATH": "/usr/bin:/bin", **environ},
            )
        return cls(process, home)

    def make(self, *arguments: object, on: str = "client", **options: object) -> None:
        """Make the client, or another object `on` of the package.

        For Python the first argument is its class, a dotted name: `questrade_api.Questrade`. For Node.js it is the
        package and what it exports, `alpaca4:trading.AccountsApi`; for the package questrade nothing.
        """
        self._ask(do="make", on=on, arguments=arguments, options=options)

    def assign(self, name: str, value: object) -> None:
        """Set an attribute of a module (`qtrade.questrade.URL`) or object (`client.url`); in Node of the client."""
        self._ask(do="assign", name=name, value=value)

    def keep(self, name: str, method: str, *arguments: object, on: str = "client", path: Sequence[str] = ()) -> None:
        """Call a method and keep its result, or what is at `path` in it, to call methods of that."""
        self._ask(do="keep", name=name, on=on, method=method, arguments=arguments, path=path)

    def call(self, method: str, /, *arguments: object, on: str = "client", **options: object) -> Any:
        """The result of one method (or the value of a property, or of a function `module.name`). Raises `Failed`."""
        return self._ask(do="call", on=on, method=method, arguments=arguments, options=options)

    def read(self, method: str, read: Read, on: str = "client") -> object:
        """What `read` looks at."""
        return read.look(self.call(bare(method), *read.arguments, on=on, **read.options))

    def methods(self, of: str, *, inherited: bool = False) -> set[str]:
        """The public names of a class (a dotted name), in Node of something kept; of a Python class its own, or all."""
        return set(self._ask(do="methods", of=of, **({"inherited": True} if inherited else {})))

    def exports(self, of: str) -> set[str]:
        """The names that an npm package exports at a place, `alpaca4:trading`."""
        return set(self._ask(do="exports", of=of))

    def listen(self, on: str, events: Sequence[str], subscribe: Sequence[Sequence[object]]) -> None:
        """Open a socket of an npm package, `client.data_stream_v2`: methods that take a listener, and those to call
        with their arguments once it is connected."""
        self._ask(do="listen", on=on, events=events, subscribe=subscribe)

    def heard(self, on: str, event: str, count: int = 1, seconds: float = 10.0) -> list[Any]:
        """What such a socket has heard of an event (or `onError`, `onConnect`), as soon as it is `count` times."""
        found: list[Any] = self._ask(do="heard", on=on, event=event, count=count, seconds=seconds)
        return found

    def begin_loop(self, calls: Sequence[tuple[str, Sequence[object]]], seconds: float) -> None:
        """Make these calls over and over; `end_loop()` waits for the end."""
        self._say(do="loop", calls=calls, seconds=seconds)

    def end_loop(self) -> tuple[int, list[str]]:
        """How many calls were made, and the failures."""
        made, failures = self._hear()
        return made, failures

    def hang_up(self) -> None:
        """Let it end."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def kill(self) -> None:
        """End it, whatever it does: some packages take a second or more to end in order."""
        self.hang_up()
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Wait until it has ended in order."""
        self.hang_up()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, **question: object) -> Any:
        self._say(**question)
        return self._hear()

    def _say(self, **question: object) -> None:
        assert self._process.stdin is not None
        line = json.dumps(question)
        for word, meaning in self.words.items():
            line = line.replace(f'"${word}"', json.dumps(meaning))
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], PATIENCE)
        line = stdout.readline() if ready else ""
        if not line:
            raise AssertionError(f"the client said nothing:\n{(self.home / 'stderr').read_text()}")
        heard = json.loads(line)
        if "failed" in heard:
            raise Failed(**heard["failed"])
        return heard["result"]
