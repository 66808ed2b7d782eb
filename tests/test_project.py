"""What surrounds the code agrees with it: versions, lock files, make targets, documents."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from blockbuster import BlockingError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from proxy import __version__
from proxy.store.keys import Source

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = __version__
LOCKS = sorted((ROOT / "locks").glob("*.txt"))

# In pieces, or this file would hold what it looks for.
REGISTRY_HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb." + "debian.org"]
MACHINE_PATHS = ["/wo" + "rk/", "/ro" + "ot/"]


def project_files() -> list[Path]:
    """Every text file that is in the repository or would be added to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def locked(path: Path) -> dict[str, str]:
    """Package → version of a lock file."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", path.read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def test_every_document_names_the_version() -> None:
    """The changelog's newest entry and the README are about the version of pyproject.toml."""
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    assert newest is not None
    assert VERSION == newest.group(1)
    assert f"Version {VERSION}" in (ROOT / "README.md").read_text("utf-8")
    assert f"bearerd:{VERSION}" in (ROOT / "docker-compose.yml").read_text("utf-8")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.name))
def test_a_lock_file_pins_everything_by_hash_and_names_no_host(path: Path) -> None:
    """Each requirement is `name==version` with a SHA-256, and no address stands in the file."""
    text = path.read_text("utf-8")
    requirements = re.split(r"\n(?=\S)", text.strip())

    assert [] == [line.split()[0] for line in requirements if not re.match(r"[\w.-]+==\S+", line)]
    assert [] == [line.split()[0] for line in requirements if "--hash=sha256:" not in line]
    assert "://" not in text


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("runtime.txt", []),
        ("build.txt", ["build"]),
        ("dev.txt", ["build", "dev", "clients"]),
        ("legacy.txt", ["legacy"]),
    ],
)
def test_lock_files_hold_what_pyproject_asks_for(lock: str, groups: list[str]) -> None:
    """Every direct dependency is locked at a version that pyproject.toml allows; `make lock` was not forgotten."""
    wanted = [] if lock in ("build.txt", "legacy.txt") else list(PYPROJECT["project"]["dependencies"])
    for group in groups:
        wanted += [entry for entry in PYPROJECT["dependency-groups"][group] if isinstance(entry, str)]
    pins = locked(ROOT / "locks" / lock)

    missing = [
        text
        for text in wanted
        if (pin := pins.get(canonicalize_name((need := Requirement(text)).name))) is None or pin not in need.specifier
    ]
    assert [] == missing


def test_the_lock_files_agree_with_each_other() -> None:
    """What runs in production is what was tested."""
    everything = locked(ROOT / "locks" / "dev.txt")

    for name in ("runtime.txt", "build.txt"):
        assert {} == {
            key: value for key, value in locked(ROOT / "locks" / name).items() if everything.get(key) != value
        }


def test_the_npm_lock_file_names_no_host() -> None:
    """Each package of the npm client is pinned by its integrity, without the address it came from."""
    packages = json.loads((ROOT / "tests/clients/package-lock.json").read_text("utf-8"))["packages"]
    installed = {name: entry for name, entry in packages.items() if name}

    assert "questrade" in packages[""]["dependencies"]
    assert [] == [name for name, entry in installed.items() if not entry["integrity"].startswith("sha512-")]
    assert [] == [name for name, entry in installed.items() if "resolved" in entry]


def test_make_help_lists_every_target() -> None:
    """`make help` is made from the comments, and no target lacks one."""
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert targets is not None
    assert targets.group(1).split() == re.findall(r"^  make (\w+) ", shown, re.MULTILINE)


def test_ci_runs_what_people_run() -> None:
    """`.ci/run` sets CI and calls `make test`, nothing else."""
    commands = [
        line
        for line in (ROOT / ".ci/run").read_text("utf-8").splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]

    assert ["export CI=true", "exec make test"] == commands


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Whoever clones the project uses their own indexes and folders."""
    found = []
    for path in project_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {bad}" for bad in REGISTRY_HOSTS + MACHINE_PATHS if bad in text]

    assert [] == found


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/decisions.md"])
def test_documents_cite_files_that_exist(document: str) -> None:
    """A path in backticks that begins with a folder of the project is there."""
    text = (ROOT / document).read_text("utf-8")
    cited = set(re.findall(r"`((?:proxy|tests|docs|scripts|locks)/[\w./-]+)`", text))

    assert [] == sorted(path for path in cited if not (ROOT / path).exists())


def test_security_names_a_holder_for_every_promise() -> None:
    """SECURITY.md has a row for each of P1 to P8, P2a and so on too, and each names a test, or says: not yet held."""
    rows = re.findall(r"^\| (P\d[a-z]?) \|.*\| (.+) \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)

    assert sorted(name for name, _ in rows) == [name for name, _ in rows]
    assert [f"P{number}" for number in range(1, 9)] == [name for name, _ in rows if len(name) == 2]
    assert [] == [name for name, holder in rows if "`tests/" not in holder and "not yet" not in holder]


@pytest.mark.parametrize(
    "call", ["time.sleep(0)", "os.fsync(0)", "os.fdatasync(0)", "os.replace(os.devnull, os.devnull)"]
)
async def test_code_of_ours_that_blocks_the_loop_fails_its_test(call: str) -> None:
    """The watch of conftest.py is on: a blocking call from a file of the package raises inside the loop."""
    planted = compile(f"import os, time\ndef block(): {call}", str(ROOT / "proxy/planted.py"), "exec")
    names: dict[str, Any] = {}
    exec(planted, names)  # noqa: S102  two lines, written above

    with pytest.raises(BlockingError):
        names["block"]()


def test_the_image_has_no_secret_and_no_root() -> None:
    """The Dockerfile keeps to a plain user and the exec-form health check; nothing private is in its context."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert "USER 10001:10001" in text
    assert 'CMD ["bearerd", "healthcheck"]' in text
    assert "*" == ignored[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play the engine that lays a secret out for another user")
def test_the_container_s_user_can_read_the_master_key(state_dir: Path) -> None:
    """The folder of a secret is root's, the file the user's: the key source of docker-compose.yml can do with that."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["bearerd"]
    secret = service["environment"]["BEARERD_KEY_SOURCE"].removeprefix("credential:")
    assert secret in service["secrets"]
    folder = service["environment"]["CREDENTIALS_DIRECTORY"]
    state_dir.chmod(0o755)
    Source(f"file:{secret}", state_dir).create()
    user = int(service["user"].partition(":")[0])
    os.chown(state_dir / secret, user, user)
    source = Source(
        service["environment"]["BEARERD_KEY_SOURCE"], state_dir, None, {"CREDENTIALS_DIRECTORY": str(state_dir)}
    )

    assert "/run/secrets" == folder
    own = os.geteuid()
    os.setegid(user)
    os.seteuid(user)
    try:
        key = source.load()
    finally:
        os.seteuid(own)
        os.setegid(own)
    assert 32 == len(key)
