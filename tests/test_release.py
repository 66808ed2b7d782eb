"""What is published: the same bytes from the same tree, with what belongs in and nothing else, and it runs."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.licenses import canonicalize_license_expression

from proxy import __version__
from scripts import pythons, release, sbom
from tests.test_project import LOCKS, PYPROJECT, ROOT, locked, project_files

EPOCH = "1790000000"
WHEEL, SDIST, SBOM = (f"bearerd-{__version__}{end}" for end in ("-py3-none-any.whl", ".tar.gz", ".cdx.json"))
# Of whatever bearerd runs on in production: terms that ask for no more than to be named.
TERMS = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}


@dataclass(frozen=True, slots=True)
class Made:
    """Two releases of one tree, made as differently as can be, and a wheel that was made without the sdist.

    `files` is what was in that tree.
    """

    one: Path
    other: Path
    straight: Path
    files: tuple[Path, ...]


def copy(files: Iterable[Path], target: Path, *, later: bool) -> None:
    """The tree, without what git does not know; with other times, and modes that only its owner may use."""
    for path in files:
        place = target / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        place.chmod((0o700 if later else 0o755) if os.access(path, os.X_OK) else 0o600 if later else 0o644)
        os.utime(place, (2e9, 2e9) if later else (1e9, 1e9))


def run(where: Path, *command: str, umask: int, **environ: str) -> None:
    """A step of the making, which must go well."""
    surroundings = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, **environ}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=where,
        env=surroundings,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    one, other = (
        tmp_path_factory.mktemp("here"),
        tmp_path_factory.mktemp("a place with a much longer name") / "and deeper",
    )
    made = Made(one / "dist", other / "dist", other / "straight", tuple(project_files()))
    with ThreadPoolExecutor(2) as both:
        first = both.submit(copy, made.files, one, later=False)
        copy(made.files, other, later=True)
        first.result()
        build = "scripts/release.py", "--dirty", "--out"
        first_run = both.submit(run, one, *build, str(made.one), umask=0o022, TZ="UTC", LANG="C", PYTHONHASHSEED="1")
        run(other, *build, "dist", umask=0o077, TZ="Asia/Tokyo", LANG="de_DE.UTF-8", PYTHONHASHSEED="2")
        run(other, "-m", "hatchling", "build", "-t", "wheel", "-d", "straight", umask=0o077)
        first_run.result()
    return made


@pytest.mark.timeout(180)
def test_a_release_is_the_same_wherever_and_whenever_it_is_made(made: Made) -> None:
    """Another folder, umask, time zone, language, hash seed; other times and modes of files; from sdist or tree."""
    files = sorted(path.name for path in made.one.iterdir())

    assert sorted([release.SUMS, SBOM, WHEEL, SDIST]) == files
    assert [] == [name for name in files if (made.one / name).read_bytes() != (made.other / name).read_bytes()]
    assert (made.one / WHEEL).read_bytes() == (made.straight / WHEEL).read_bytes()
    sums = dict(line.split("  ")[::-1] for line in (made.one / release.SUMS).read_text().splitlines())
    assert {name: hashlib.sha256((made.one / name).read_bytes()).hexdigest() for name in (SDIST, SBOM, WHEEL)} == sums


@pytest.mark.timeout(180)
def test_the_wheel_holds_the_package_and_nothing_else(made: Made) -> None:
    """Every file of the package, with templates, definitions, styles, scripts and migrations; no test."""
    taken = {"proxy": "proxy", **PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"].get("force-include", {})}
    expected = {
        f"{place}/{path.relative_to(ROOT / source).as_posix()}"
        for path in made.files
        for source, place in taken.items()
        if path.is_relative_to(ROOT / source)
    }
    with zipfile.ZipFile(made.one / WHEEL) as archive:
        held = set(archive.namelist())
        metadata = archive.read(f"bearerd-{__version__}.dist-info/METADATA").decode()

    info = {name for name in held if name.startswith(f"bearerd-{__version__}.dist-info/")}
    assert expected == held - info
    assert {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"} == {name.rpartition("/")[2] for name in info}
    needed = {"py.typed", "brokers/questrade.yaml", "console/templates/console.css", "console/templates/console.js"}
    assert {f"proxy/{name}" for name in (*needed, "store/migrations/0001_tables.sql")} <= held
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata


@pytest.mark.timeout(180)
def test_the_sdist_holds_what_can_be_built_tested_run_and_read(made: Made) -> None:
    """All that is in the repository but its own settings; with fixed times and modes, and nobody's name."""
    with tarfile.open(made.one / SDIST) as archive:
        members = archive.getmembers()
    top = f"bearerd-{__version__}/"
    held = {member.name.removeprefix(top) for member in members}
    kept = {path.relative_to(ROOT).as_posix() for path in made.files}

    left_out = {name for name in kept - held if not name.startswith(".")}
    assert set() == left_out
    assert {"PKG-INFO"} == held - kept
    assert {int(EPOCH)} == {int(member.mtime) for member in members}
    assert {(0, "", "")} == {(member.uid, member.uname, member.gname) for member in members}
    assert {0o644, 0o755} == {member.mode for member in members}
    assert [] == [name for name in held if re.search(r"master\.key|\.secret$|\.db$", name)]


def surroundings() -> dict[str, str]:
    """Of a program that finds its dependencies where the tests have theirs; bearerd itself it must bring along."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": sysconfig.get_path("purelib")}


def runs(home: Path, program: Path, environ: Mapping[str, str]) -> None:
    """`--version`, and a demo that answers, ends well when it is told to, and is of the installed package."""
    shown = subprocess.run([program, "--version"], env=environ, cwd=home, capture_output=True, text=True, check=True)
    assert f"bearerd {__version__}\n" == shown.stdout
    where = [str(program.with_name("python")), "-c", "import proxy; print(proxy.__file__)"]
    found = subprocess.run(where, env=environ, cwd=home, capture_output=True, text=True, check=True).stdout
    assert Path(found).is_relative_to(program.parent.parent)
    demo = subprocess.Popen(
        [program, "demo", "--json", "--port", "0"],
        env=environ,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert demo.stdout is not None
        told: dict[str, Any] = json.loads(demo.stdout.readline() or b"{}")
        demo.send_signal(signal.SIGTERM)
        _, said = demo.communicate(timeout=60)
    finally:
        demo.kill()
    assert (1, 0) == (told.get("schema"), demo.returncode), said.decode()
    assert "questrade" in told["mounts"]


@pytest.mark.timeout(180)
def test_the_wheel_runs_from_an_empty_environment(made: Made, tmp_path: Path) -> None:
    """Installed alone; what it depends on is that of the tests. With its dependencies installed: the soak."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv/bin/python"), "-q", "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--disable-pip-version-check", str(made.one / WHEEL)], check=True)

    runs(tmp_path, tmp_path / "venv/bin/bearerd", {**surroundings(), "HOME": str(tmp_path)})


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("minor", pythons.SUPPORTED)
def test_the_wheel_runs_with_what_is_locked_under_each_python(made: Made, tmp_path: Path, minor: str) -> None:
    """From the registry into an empty environment, by hash; every module of the package compiles without a warning."""
    python = next((one for one in pythons.found([]) if one.minor == minor), None)
    if python is None:
        pytest.skip(f"there is no Python {minor} here: NOT RUN")
    home, program = tmp_path, tmp_path / "venv/bin/bearerd"
    subprocess.run([python.path, "-m", "venv", home / "venv"], check=True)
    pip = [str(program.with_name("python")), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    lock = ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "locks/runtime.txt")]
    subprocess.run([*pip, *lock], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(made.one / WHEEL)], check=True)
    subprocess.run([*pip[:3], "check"], check=True, stdout=subprocess.DEVNULL)
    compiled = [pip[0], "-W", "error", "-m", "compileall", "-f", "-q", str(ROOT / "proxy"), "-o", "1"]
    subprocess.run(compiled, check=True, env={**os.environ, "PYTHONPYCACHEPREFIX": str(home / "compiled")})

    runs(home, program, {"PATH": os.environ["PATH"], "HOME": str(home)})


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("system", ["manylinux_2_28_x86_64", "macosx_11_0_arm64"])
@pytest.mark.parametrize("minor", pythons.SUPPORTED)
def test_each_locked_package_has_a_wheel_for_each_python(minor: str, system: str, tmp_path: Path) -> None:
    """Nothing has to be compiled where bearerd is installed. Nothing is installed here either."""
    older = system.replace("2_28", "2_17")
    where = ["--target", str(tmp_path), "--python-version", minor, "--platform", system, "--platform", older]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--dry-run", *where]
    lock = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(ROOT / "locks/runtime.txt")]

    subprocess.run([*pip, *lock], check=True)


# -- the SBOM ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_the_sbom_lists_what_is_locked(made: Made) -> None:
    """Each package with version, hashes and a licence in SPDX; who needs whom; what only an extra needs is optional."""
    told = json.loads((made.one / SBOM).read_text())
    parts = {part["name"]: part for part in told["components"]}
    pins = locked(ROOT / "locks/runtime.txt")

    assert ("CycloneDX", "1.6", "bearerd") == (
        told["bomFormat"],
        told["specVersion"],
        told["metadata"]["component"]["name"],
    )
    assert __version__ == told["metadata"]["component"]["version"]
    assert pins == {name: part["version"] for name, part in parts.items()}
    assert [] == [name for name, part in parts.items() if not _terms(part) <= TERMS]
    hashes = {name: part["properties"][0]["value"].split() for name, part in parts.items()}
    lock = (ROOT / "locks/runtime.txt").read_text("utf-8")
    assert sorted(re.findall("sha256:([0-9a-f]{64})", lock)) == sorted(chain.from_iterable(hashes.values()))
    assert ("optional", "required") == (parts["asyncpg"]["scope"], parts["aiohttp"]["scope"])
    needs = {each["ref"]: set(each.get("dependsOn", ())) for each in told["dependencies"]}
    direct = set(sbom.needs(PYPROJECT["project"]["dependencies"]))
    assert direct < needs["bearerd"] <= pins.keys()
    assert {"multidict", "yarl"} <= needs["aiohttp"]


def _terms(part: Mapping[str, Any]) -> set[str]:
    """The licences of a package, each of which must be one of SPDX's list."""
    (said,) = part["licenses"]
    expression = said.get("expression") or said["license"].get("id") or said["license"]["name"]
    return set(re.findall(r"[\w.+-]+", canonicalize_license_expression(expression))) - {"AND", "OR", "WITH"}


def test_the_sbom_is_not_made_of_other_packages_than_are_locked() -> None:
    """What is installed in another version, or not at all, would lend it a wrong licence."""
    found = sbom.locked("click==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    missing = sbom.Locked("no-such-package", "1", "", ())

    with pytest.raises(sbom.Unlike, match=r"click is locked at 1\.0 and 8\."):
        sbom.graph(found)
    with pytest.raises(sbom.Unlike, match="no-such-package is locked at 1 and not installed"):
        sbom.graph([missing])


def test_each_lock_file_is_read_whole() -> None:
    """With the markers that some lines have."""
    for path in LOCKS:
        text = path.read_text("utf-8")
        found = sbom.locked(text)
        assert text.count("==") - text.count("_version ==") <= len(found) + text.count(" == '")
        assert locked(path) == {each.name: each.version for each in found}
        assert [] == [each.name for each in found if not each.hashes]


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_a_folder_with_other_things_is_not_emptied(tmp_path: Path) -> None:
    """A mistyped --out costs nothing."""
    (tmp_path / WHEEL).touch()
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(release.Unfit, match=r"holds thesis\.txt, which no release has made"):
        release.make_room(tmp_path)
    assert (tmp_path / WHEEL).exists()
    (tmp_path / "thesis.txt").unlink()
    release.make_room(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_another_version_than_the_changelog_s_is_not_released() -> None:
    """Not even for a try."""
    with pytest.raises(release.Unfit, match=r"the newest section of CHANGELOG\.md is not that of 9\.9\.9"):
        release.check("9.9.9", dirty=True)


def test_the_version_stands_in_one_place() -> None:
    """Whatever else names a version of bearerd names this one."""
    assert ["version"] == PYPROJECT["project"]["dynamic"]
    assert "proxy/__init__.py" == PYPROJECT["tool"]["hatch"]["version"]["path"]
    said = re.compile(r"(?:bearerd[:@ /]|image\.version=\"|app\.kubernetes\.io/version: \"?)v?(\d+\.\d+\.\d+)")
    found: dict[str, set[str]] = {}
    for path in project_files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("tests/", "bench/results", "proxy/")) or path.suffix == ".gz":
            continue
        for version in said.findall(path.read_bytes().decode("utf-8", "replace")):
            found.setdefault(version, set()).add(name)

    assert {__version__} == found.keys(), found
    assert {"README.md", "docker-compose.yml", "Dockerfile"} <= found[__version__] | {"README.md"}


# What 3.12, 3.13 and 3.14 have taken out of the standard library of 3.11.
REMOVED = {
    "aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp",
    "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau",
    "telnetlib", "tkinter.tix", "uu", "xdrlib",
}  # fmt: skip


def test_no_module_is_used_that_a_later_python_lacks() -> None:
    """From 3.12 to 3.14; nor is a grammar that 3.11 lacks: ruff holds to that, and this very Python if it is one."""
    named = re.compile(r"^\s*(?:import|from) ([\w.]+)", re.MULTILINE)
    used = {
        (path.relative_to(ROOT).as_posix(), module)
        for path in (ROOT / "proxy").rglob("*.py")
        for module in named.findall(path.read_text("utf-8"))
    }

    assert [] == sorted(each for each in used if each[1] in REMOVED)
    assert (">=3.11", "py311") == (PYPROJECT["project"]["requires-python"], PYPROJECT["tool"]["ruff"]["target-version"])


def test_the_documents_say_which_pythons_were_run() -> None:
    """The table of docs/releasing.md has a row for each that is supported; those that were run are classifiers."""
    text = (ROOT / "docs/releasing.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([\d., ]+) \| (.+) \|$", text, re.MULTILINE))
    run = {minor for said, what in rows.items() for minor in re.findall(r"\d\.\d+", said) if "not run" not in what}
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))

    assert set(pythons.SUPPORTED) == {minor for said in rows for minor in re.findall(r"\b3\.\d+", said)}
    assert run == set(listed)
