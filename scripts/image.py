"""Build the container image, with docker or with buildah, whichever is at hand.

scripts/image.py build [--tag T] [--base IMAGE] [FOLDER]
scripts/image.py base FILE       a root file system of Debian's packages with Python, as a tar file (root, mmdebstrap)

Packages come from where pip gets them on this machine: index, proxy and certificates of pip's configuration and of the
environment are lent to the build as secrets. They are in no layer and in no history of the image.
"""

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of pip's settings those that say where packages are. A path of this machine is nothing to a build.
PLACES = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)
AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

# What stands in for python:…-slim where no registry can be reached: Debian's own Python. Unpacked and not configured,
# which takes a tenth of the time; the little that would be missed is done by hand.
PACKAGES = "base-passwd,ca-certificates,coreutils,dash,findutils,grep,passwd,python3,python3-venv,sed"
FINISH = (
    "cp usr/share/base-passwd/passwd.master etc/passwd",
    "cp usr/share/base-passwd/group.master etc/group",
    "rm -rf usr/share/doc usr/share/info usr/share/locale usr/share/man var/lib/dpkg/info",
)


def pip_settings() -> dict[str, str]:
    """What pip says of its own configuration, files and environment together; nothing where there is no pip."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return found


def pip_conf(settings: Mapping[str, str], *, authority: bool) -> str:
    """A pip.conf for the build. `authority`: certificates are lent as well."""
    lines = ["[global]"]
    for name in PLACES:
        words = [word for word in settings.get(name, "").split() if not word.startswith(("file:", "/", "."))]
        if words:
            lines.append(f"{name} = {' '.join(words)}")
    if authority:
        lines.append("cert = /run/secrets/ca")
    return "\n".join(lines) + "\n"


@contextmanager
def lent(environ: Mapping[str, str]) -> Iterator[list[str]]:
    """Options of a build that lend it the way to the packages."""
    settings = pip_settings()
    candidates = [settings.get("cert"), *(environ.get(name) for name in AUTHORITIES)]
    authority = next((path for path in candidates if path and Path(path).is_file()), None)
    with tempfile.NamedTemporaryFile("w", prefix="pip-", suffix=".conf") as file:
        file.write(pip_conf(settings, authority=authority is not None))
        file.flush()
        yield [
            *("--secret", f"id=pip,src={file.name}"),
            *(("--secret", f"id=ca,src={authority}") if authority is not None else ()),
            *(word for name in PROXIES if name in environ for word in ("--build-arg", name)),
        ]


def engine() -> list[str]:
    """`docker build` if a docker is running, else buildah's. SystemExit without either."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0:
        return [docker, "build"]
    buildah = shutil.which("buildah")
    if buildah is None:
        raise SystemExit("An image needs a running docker, or buildah; neither was found.")
    return [buildah, "build", "--format", "docker"]  # the other format knows no HEALTHCHECK


def build(command: list[str], tags: list[str], base: str | None, context: Path) -> int:
    """The exit code of the build of `context`, which prints what it does."""
    given = [] if base is None else ["--build-arg", f"BASE_IMAGE={base}"]
    for tag in tags:
        given += ["-t", tag]
    environ = {**os.environ, "DOCKER_BUILDKIT": "1"}  # an older docker knows secrets only so
    with lent(environ) as options:
        return subprocess.run([*command, *options, *given, str(context)], cwd=ROOT, env=environ, check=False).returncode


def names() -> list[str]:
    """How the image is called: as docker-compose.yml does, and without a version."""
    found = re.search(r'^__version__ = "(.+)"', (ROOT / "proxy/__init__.py").read_text("utf-8"), re.MULTILINE)
    return ["bearerd"] if found is None else [f"bearerd:{found[1]}", "bearerd:latest"]


def make_base(file: Path) -> None:
    """Write the stand-in for the base image. Mirrors and keys are those that apt has on this machine."""
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    wanted = ["Created-By: Packages", "Origin: Debian", f"Architecture: {architecture}"]
    sources = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", *wanted], text=True
    )
    release = sources.split()[2]
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    hooks = [f'--customize-hook=cd "$1" && {step}' for step in FINISH]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--format=tar", f"--include={PACKAGES}"]
    try:
        subprocess.run([*command, *hooks, release, str(draft), "-"], input=sources, text=True, check=True)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the container image.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("build", help="an image, with docker or buildah")
    one.add_argument("--tag", action="append", help="its name; default: bearerd, with this version and without")
    one.add_argument("--base", help="another base image than the Dockerfile names")
    one.add_argument("--engine", type=shlex.split, help="the command that builds, instead of the one that is found")
    one.add_argument("context", nargs="?", type=Path, default=ROOT)
    two = commands.add_parser("base", help="a stand-in for the base image, of Debian's packages")
    two.add_argument("file", type=Path)
    wish = parser.parse_args()
    if wish.command == "base":
        make_base(wish.file)
        return 0
    return build(wish.engine or engine(), wish.tag or names(), wish.base, wish.context)


if __name__ == "__main__":
    sys.exit(main())
