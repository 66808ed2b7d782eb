"""An engine for containers out of Debian's packages: buildah's images, run by crun as an engine would run them.

Read-only root, another user, no capabilities, no new privileges, a process and a network namespace of its own. Needs
root. Everything is in one folder and goes with it, also if the tests are killed.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.database import in_memory
from tests.product import ROOT, START, Done

PROGRAMS = ("buildah", "crun", "mmdebstrap", "unshare")

# crun looks at the machine's control groups even where it is to leave them alone, and not every machine has them in the
# shape that it wants: it is shown none.
_CRUN = 'mount -t tmpfs none /sys/fs/cgroup 2>/dev/null; exec crun --cgroup-manager=disabled --root "$@"'
# Waits for our end, be it a kill: its standard input is a pipe that only we hold open.
_GUARD = (
    'read -r _; for each in "$0"/run/*; do unshare -m sh -c "$1" - "$0/run" delete -f "${each##*/}"; done; rm -rf "$0"'
)
_CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")


@dataclass(frozen=True, slots=True)
class Image:
    """A built image, unpacked at `root`. `config` is what an engine goes by, `history` how it came to be."""

    config: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    root: Path


@dataclass(frozen=True, slots=True)
class Wish:
    """How to run a container, beside what its image says. `mounts`: path inside → path here, and whether to write."""

    command: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    mounts: Mapping[str, tuple[Path, bool]] = field(default_factory=dict)
    tmpfs: Sequence[str] = ()
    beside: "Container | None" = None  # whose network it shares; None: one of its own, with nothing in it


class Engine:
    """Builds images and runs containers. `close()` ends all and removes the folder."""

    def __init__(self, program: Callable[[str], str]) -> None:
        self._buildah = program("buildah")
        for name in PROGRAMS:
            program(name)
        self.folder = Path(tempfile.mkdtemp(prefix="brd-images-", dir=_quick()))
        self._containers: list[Container] = []
        guard = ["sh", "-c", _GUARD, str(self.folder), _CRUN]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)

    @property
    def storage(self) -> list[str]:
        """`buildah` with a storage that needs no help of the kernel, in our folder."""
        places = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "buildah"))
        return [self._buildah, "--storage-driver", "vfs", *places]

    def add_base(self, file: Path, tag: str) -> None:
        """Make an image of a tar file."""
        container = self._do("from", "scratch")
        self._do("add", "--quiet", container, str(file), "/")
        self._do("commit", "--quiet", "--rm", "--format", "docker", container, tag)

    def build(self, tag: str, base: str, context: Path = ROOT) -> str:
        """`scripts/image.py build`; what it has printed."""
        command = [*self.storage, "build", "--isolation", "chroot", "--pull-never", "--format", "docker"]
        done = subprocess.run(
            [sys.executable, ROOT / "scripts/image.py", "build", "--engine", " ".join(command), "--base", base,
             "--tag", tag, context],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def image(self, tag: str) -> Image:
        """An image that is there."""
        docker = json.loads(self._do("inspect", "--type", "image", tag))["Docker"]
        root = self._do("mount", self._do("from", "--pull-never", tag))
        return Image(docker["config"], docker["history"], Path(root))

    def size(self, tag: str) -> int:
        """Of an image with all its layers, in bytes, as nobody compresses it."""
        return _bytes(json.loads(self._do("images", "--json", tag))[0]["size"])

    def run(self, image: Image, wish: Wish) -> "Container":
        """Start a container."""
        name = f"c{len(self._containers)}"
        bundle = self.folder / "bundles" / name
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(_specification(image, wish)))
        container = Container(self.folder / "run", name, bundle)
        self._containers.append(container)
        return container

    def close(self) -> None:
        for container in reversed(self._containers):
            container.remove()
        self._guard.kill()
        self._guard.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _do(self, *arguments: str) -> str:
        done = subprocess.run([*self.storage, *arguments], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stderr
        return done.stdout.strip()


class Container:
    """One container, in the foreground of a process of ours."""

    def __init__(self, state: Path, name: str, bundle: Path) -> None:
        self.name = name
        self._state = state
        self._bundle = bundle
        self._process = self._start("run", "--bundle", str(bundle), name)

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._bundle / "stdout").open("wb") as out, (self._bundle / "stderr").open("wb") as err:
            return subprocess.Popen(self._crun(*arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def _crun(self, *arguments: str) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _CRUN, "-", str(self._state), *arguments]

    @property
    def out(self) -> str:
        return (self._bundle / "stdout").read_text("utf-8", "replace")

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.out + (self._bundle / "stderr").read_text("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Of its first process, as the machine sees it."""
        told = subprocess.run(self._crun("state", self.name), capture_output=True, text=True, check=True)
        return int(json.loads(told.stdout)["pid"])

    def until(self, ready: Callable[[], bool]) -> None:
        """Return when `ready`. AssertionError if it ends before, or takes too long."""
        end = time.monotonic() + START
        while not ready():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}:\n{self.output}"
            assert time.monotonic() < end, f"not within {START} s:\n{self.output}"
            time.sleep(0.02)

    def exec(self, *command: str, stdin: str = "") -> Done:
        """A command inside, as an engine runs a health check: the same user, environment and folder."""
        process = json.loads((self._bundle / "config.json").read_text())["process"]
        file = self._bundle / "exec.json"
        file.write_text(json.dumps(process | {"args": command}))
        words = self._crun("exec", "--process", str(file), self.name)
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=START, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def send(self, number: signal.Signals) -> None:
        """A signal to its first process."""
        subprocess.run(self._crun("kill", self.name, number.name.removeprefix("SIG")), check=True)

    def end(self, seconds: float = START) -> int:
        """Its exit code, once it ends by itself."""
        return self._process.wait(seconds)

    def remove(self) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            subprocess.run(self._crun("delete", "--force", self.name), capture_output=True, check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(START)


def _specification(image: Image, wish: Wish) -> dict[str, Any]:
    """What crun is told, by the rules that engines follow for an image."""
    config = image.config
    environ = dict(pair.partition("=")[::2] for pair in config["Env"]) | dict(wish.environ)
    user, _, group = (wish.user or config["User"]).partition(":")
    entrypoint = config.get("Entrypoint") or [] if wish.entrypoint is None else wish.entrypoint
    command = wish.command or (config.get("Cmd") or [] if wish.entrypoint is None else [])
    own = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    shared = {} if wish.beside is None else {"path": f"/proc/{wish.beside.pid}/ns/net"}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": [*entrypoint, *command],
            "env": [f"{name}={value}" for name, value in environ.items()],
            "cwd": config.get("WorkingDir") or "/",
            "user": {"uid": int(user), "gid": int(group or user)},
            "capabilities": {kind: [] for kind in _CAPABILITIES},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "hostname": "container",
        "mounts": [*_mounts(wish)],
        "linux": {"namespaces": [*own, {"type": "network"} | shared]},
    }


def _mounts(wish: Wish) -> list[dict[str, Any]]:
    memory = {"type": "tmpfs", "source": "tmpfs"}
    found: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", **memory, "options": ["nosuid", "mode=755", "size=65536k"]},
    ]
    for entry in wish.tmpfs:
        place, _, options = entry.partition(":")
        found.append({"destination": place, **memory, "options": ["nosuid", "nodev", "noexec", *options.split(",")]})
    for place, (source, writable) in wish.mounts.items():
        how = ["rbind", "rw" if writable else "ro"]
        found.append({"destination": place, "type": "bind", "source": str(source), "options": how})
    return found


def _quick() -> str | None:
    """A folder in memory, if programs may be run from there: layers are copied again and again."""
    place = in_memory()
    return None if place is None or os.statvfs(place).f_flag & os.ST_NOEXEC else place


def _bytes(text: str) -> int:
    """`193 MB` in bytes; buildah counts in thousands."""
    number, _, unit = text.partition(" ")
    return int(float(number) * {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}[unit.upper()])


def cached_base(cache: Path, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """The stand-in for the base image, and whether it had to be made. A change of what makes it makes another."""
    stamp = (ROOT / "scripts/image.py").stat().st_mtime_ns
    file = cache / f"base-{os.uname().machine}-{stamp}.tar"
    if file.exists():
        return file, False
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob("base-*.tar"):
        old.unlink()
    make(file)
    return file, True
