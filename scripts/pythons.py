"""Runs the core of the tests under each Python that is here: `make pythons`, or some of them with ARGS="3.13 PATH".

Each gets a virtual environment of its own below .venv-pythons, with the locked packages. What is looked for where
nothing is named: `python3.11` and so on along PATH, and pyenv's. A Python that is not here is named as not run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOMES = ROOT / ".venv-pythons"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
LOCKS = ("locks/build.txt", "locks/dev.txt")
# What decides, keeps and carries, and the product from its command line. Browsers and foreign clients are left out:
# they are the same programs whatever runs bearerd.
CORE = (
    "tests/gate", "tests/config", "tests/store", "tests/tokens", "tests/audit", "tests/brokers", "tests/relay",
    "tests/streams", "tests/workers", "tests/test_life_of_a_request.py", "tests/test_gateway.py", "tests/test_admin.py",
    "tests/test_app.py", "tests/test_formats.py", "tests/cli/test_demo.py",
)  # fmt: skip
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2], '%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that can be run. `minor` is `3.13`, `full` is `3.13.0`."""

    path: str
    minor: str
    full: str


def look(command: str) -> Interpreter | None:
    """The interpreter behind a command; None if there is none that works."""
    path = shutil.which(command)
    if path is None:
        return None
    done = subprocess.run([path, "-c", _VERSION], capture_output=True, text=True, check=False)
    if done.returncode:  # pyenv puts a command there for each Python, and most of them only say that they are off
        return None
    minor, full = done.stdout.split()
    return Interpreter(path, minor, full)


def candidates() -> Iterator[str]:
    yield sys.executable
    yield from (f"python{minor}" for minor in SUPPORTED)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/*/bin/python3"), reverse=True))


def found(named: list[str]) -> list[Interpreter]:
    """The interpreters that are named (by version, command or path), or all that are here; one of each version."""
    every = {one.minor: one for one in map(look, reversed([*candidates()])) if one and one.minor in SUPPORTED}
    if not named:
        return [every[minor] for minor in SUPPORTED if minor in every]
    chosen = [every.get(name) or look(name) for name in named]
    if None in chosen:
        sys.exit(f"pythons: there is no {named[chosen.index(None)]} here; there are {', '.join(every)}")
    return [one for one in chosen if one is not None]


def prepared(one: Interpreter) -> Path:
    """Its environment, with what is locked at this moment."""
    home = HOMES / one.minor
    python, stamp = home / "bin/python", home / ".locked"
    locks = b"".join((ROOT / lock).read_bytes() for lock in LOCKS)
    if stamp.exists() and stamp.read_bytes() == locks and look(str(python)):
        return python
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([one.path, "-m", "venv", str(home)], check=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
    for lock in LOCKS:
        subprocess.run([*pip, "--no-build-isolation", "--use-pep517", "-r", lock], cwd=ROOT, check=True)
    ours = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*ours, "--no-deps", "--no-build-isolation", "-e", "."], cwd=ROOT, check=True)
    stamp.write_bytes(locks)
    return python


def run(one: Interpreter, arguments: list[str]) -> tuple[int, float]:
    """The exit code of its tests, and how long they took in seconds."""
    python = prepared(one)
    command = [str(python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-m", "not soak and not timing"]
    began = time.monotonic()
    done = subprocess.run([*command, *(arguments or CORE)], cwd=ROOT, check=False)
    return done.returncode, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pythons", nargs="*", help="versions, commands or paths; all that are here")
    parser.add_argument("--list", action="store_true", help="only say which are here")
    parser.add_argument("--tests", nargs="+", default=[], help="other tests than the core")
    given = parser.parse_args()
    here = found(given.pythons)
    results = {one.minor: (one, None if given.list else run(one, given.tests)) for one in here}
    for minor in SUPPORTED if not given.pythons else results:
        one, result = results.get(minor, (None, None))
        if one is None:
            print(f"{minor}: not here, NOT RUN")
        elif result is None:
            print(f"{minor}: {one.full} at {one.path}")
        else:
            print(f"{minor}: {one.full}, {'ok' if not result[0] else f'exit {result[0]}'}, {result[1]:.0f} s")
    sys.exit(max((result[0] for _, result in results.values() if result), default=0))


if __name__ == "__main__":
    main()
