"""Builds what is published, and publishes nothing: `python scripts/release.py [--out DIR] [--dirty]`.

The sdist from this tree, the wheel from the sdist, the SBOM, and SHA256SUMS over the three. The same commit gives the
same bytes in any folder, under any umask, at any time: all times in them are SOURCE_DATE_EPOCH, or that of the commit.
Needs what `scripts/setup test` has set up, and fetches nothing.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPOCH = 1_580_601_600  # where there is no commit: 2020-02-02, as hatchling has it
SUMS = "SHA256SUMS"
MADE = re.compile(rf"bearerd-.+\.(?:whl|tar\.gz|cdx\.json)|{SUMS}")
SHOWN = 10  # files that are not as they are committed


class Unfit(Exception):
    """No release can be made of this tree. The text says why, and what to do."""


def build(out: Path, version: str, epoch: int) -> list[Path]:
    """All that is published, in `out`, from which an earlier release is removed. Raises `Unfit`."""
    make_room(out)
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONDONTWRITEBYTECODE": "1"}
    sdist = out / f"bearerd-{version}.tar.gz"
    wheel = out / f"bearerd-{version}-py3-none-any.whl"
    sbom = out / f"bearerd-{version}.cdx.json"
    _hatch("sdist", ROOT, out, environ)
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(sdist) as archive:
            archive.extractall(directory, filter="data")
        _hatch("wheel", Path(directory) / f"bearerd-{version}", out, environ)
    _run([sys.executable, str(ROOT / "scripts/sbom.py"), str(sbom)], ROOT, environ)
    files = [sdist, sbom, wheel]
    if missing := [path.name for path in files if not path.is_file()]:
        raise Unfit(f"{', '.join(missing)} was not made")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / SUMS).write_text("".join(lines), "utf-8")
    return [*files, out / SUMS]


def make_room(out: Path) -> None:
    """An empty folder, if there was nothing in it but what this program makes. Raises `Unfit`."""
    out.mkdir(parents=True, exist_ok=True)
    found = list(out.iterdir())
    if strange := [path.name for path in found if not MADE.fullmatch(path.name)]:
        raise Unfit(f"{out} holds {strange[0]}, which no release has made; name an empty folder with --out")
    for path in found:
        path.unlink()


def _hatch(target: str, source: Path, out: Path, environ: Mapping[str, str]) -> None:
    _run([sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out.absolute())], source, environ)


def _run(command: list[str], where: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=where, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unfit(f"{' '.join(command[1:4])} failed:\n{done.stdout}{done.stderr}")


def check(version: str, *, dirty: bool) -> None:
    """The tree must be what is committed, and the changelog must know the version and its day. Raises `Unfit`."""
    if not dirty and (found := git("status", "--porcelain").splitlines()):
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise Unfit("\n".join(["these files are not as they are committed (or give --dirty):", *found[:SHOWN], *more]))
    newest = re.search(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if newest is None or newest[1] != version:
        raise Unfit(f"the newest section of CHANGELOG.md is not that of {version}")
    if not dirty and not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
        raise Unfit(f"CHANGELOG.md says of {version} that it is {newest[2]}; write the day of the release (or --dirty)")


def time_of_tree() -> int:
    """Seconds (Unix): SOURCE_DATE_EPOCH, the time of the commit, or a fixed one."""
    if said := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(said)
    committed = git("log", "-1", "--format=%ct")
    return int(committed) if committed else EPOCH


def git(*arguments: str) -> str:
    """What git says; nothing where there is no repository."""
    command = shutil.which("git")
    if command is None or not (ROOT / ".git").exists():
        return ""
    return subprocess.run([command, *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where to (dist)")
    parser.add_argument("--dirty", action="store_true", help="for a try: of a tree that is not committed, or not dated")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from proxy import __version__

    try:
        check(__version__, dirty=given.dirty)
        made = build(given.out, __version__, time_of_tree())
    except Unfit as error:
        sys.exit(f"release: {error}")
    for path in made:
        print(f"{path.stat().st_size:>9}  {path}")
    print(f"check with: cd {given.out} && sha256sum -c {SUMS}")


if __name__ == "__main__":
    main()
