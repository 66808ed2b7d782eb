"""The image is built and run as an engine would: with another user, a read-only root, and nothing but what it is given.

docker-compose.yml says how; PostgreSQL is the tests' own, reached over a socket, and the brokers are simulators in one
more container. All share one network that is theirs alone, so that ports are those of real life.
"""

import importlib.util
import json
import os
import re
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from proxy import __version__
from proxy.clock import SystemClock
from tests.authority import Authority
from tests.containers import Container, Engine, Image, cached_base
from tests.database import Server
from tests.product import ROOT
from tests.yards import BEARERD, BOT, SERVICES, Pod, Yard

LARGEST = 120_000_000  # bytes beyond the base
CANARY = "index.canary.invalid"  # a setting of whoever builds

REQUEST = """\
import http.client, ssl, sys
port, path, host = sys.argv[1:]
connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=ssl._create_unverified_context(), timeout=5)
connection.request("GET", path, headers={"Host": host})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def scripts_image() -> ModuleType:
    """`scripts/image.py` as a module."""
    specification = importlib.util.spec_from_file_location("image", ROOT / "scripts/image.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Laps:
    """How long each part took."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._told: list[str] = []

    def end(self, part: str) -> None:
        now = time.monotonic()
        self._told.append(f"{part} {now - self._since:.1f} s")
        self._since = now

    def __str__(self) -> str:
        return ", ".join(self._told)


@pytest.fixture
def engine(program: Callable[[str], str]) -> Iterator[Engine]:
    if os.geteuid() != 0:
        reason = "images are built by root here"
        pytest.fail(f"{reason}, and CI runs everything") if os.environ.get("CI") == "true" else pytest.skip(reason)
    engine = Engine(program)
    yield engine
    engine.close()


@pytest.fixture
def yard(engine: Engine) -> Iterator[Yard]:
    database = Server()
    try:
        yield Yard(engine, database)
    finally:
        database.remove()


def green(container: Container, image: Image) -> bool:
    """Whether the image's own health check says so."""
    how, *command = image.config["Healthcheck"]["Test"]
    assert "CMD" == how
    return container.exec(*command).code == 0


def holding(root: Path, text: str) -> list[Path]:
    """The files below `root` in which `text` stands."""
    files = (Path(top, name) for top, _, names in os.walk(root) for name in names)
    return [file for file in files if file.is_file() and not file.is_symlink() and text.encode() in file.read_bytes()]


@pytest.mark.timeout(400)
def test_the_image_is_built_and_serves(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, figure: Callable[[object], None]
) -> None:
    """Built without an engine, small, without what built it; a bot gets its quotes through it, and it ends in order."""
    engine, laps = yard.engine, Laps()
    base, made = cached_base(ROOT / ".venv/.image", scripts_image().make_base)
    engine.add_base(base, "localhost/base")
    laps.end("base" if made else "kept base")
    monkeypatch.setenv("PIP_TRUSTED_HOST", CANARY)
    engine.build("localhost/bearerd", "localhost/base")
    laps.end("build")
    engine.build("localhost/bot", "localhost/base", ROOT / "examples/bot")
    laps.end("bot's")
    image, bot_image = engine.image("localhost/bearerd"), engine.image("localhost/bot")
    size = engine.size("localhost/bearerd") - engine.size("localhost/base")
    check_contents(image)  # before anything is mounted into it
    laps.end("unpacked")
    simulator, simulated = yard.simulate(image)
    migrate = yard.start(image, "migrate", simulator)
    assert 0 == migrate.end(), migrate.output
    laps.end("simulator, tables")
    server = yard.start(image, "bearerd", simulator)
    server.until(lambda: green(server, image))
    laps.end("start until healthy")

    login = simulated["brokers"]["questrade"]["logins"]["refresh-token"]["refresh_token"]
    done = server.exec("bearerd", "login", "questrade", "--token-stdin", stdin=login)
    assert 0 == done.code, done.output
    added = server.exec("bearerd", "clients", "add", "bot")
    assert 0 == added.code, added.output
    yard.secret("bot_key", BOT, added.out.strip())
    bot = yard.start(bot_image, "bot", server, "--once")
    assert 0 == bot.end(), bot.output
    assert "AAPL" in bot.output

    check_confined(server)
    quick, slow = check_compiled(server)
    laps.end("login, bot, checks")
    server.send(signal.SIGTERM)
    assert 0 == server.end(), server.output
    laps.end("end")
    check_sidecar(yard, image)
    check_team(yard, image)
    laps.end("two pods")
    demo = yard.start(image, "demo", None)
    demo.until(lambda: "/alpaca" in demo.out)
    demo.send(signal.SIGTERM)
    assert 0 == demo.end(), demo.output
    laps.end("demo")
    figure(f"{size / 1e6:.0f} MB beyond the base; loaded in {quick:.2f} s, not compiled {slow:.2f} s; {laps}")
    assert size <= LARGEST


def check_confined(server: Container) -> None:
    """Not root, nothing to gain, nothing to write but the volume and /tmp."""
    status = server.exec("cat", "/proc/1/status").out
    places = "/x /opt/bearerd/x /etc/bearerd/x /run/secrets/x"
    writing = server.exec("sh", "-c", f"for each in {places}; do echo >$each && echo written; done")
    own = server.exec("sh", "-c", "echo >/tmp/x && echo >/var/lib/bearerd/x && rm /var/lib/bearerd/x && echo written")

    fields = dict(line.partition(":\t")[::2] for line in status.splitlines())
    assert {str(BEARERD)} == set(fields["Uid"].split()) | set(fields["Gid"].split())
    assert "1" == fields["NoNewPrivs"]
    assert {0} == {int(fields[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert "written" not in writing.out
    assert "written\n" == own.out


def check_compiled(server: Container) -> tuple[float, float]:
    """No start compiles a module again: a read-only root could not keep it.

    Seconds that the server's modules take to load, and those that they would take.
    """
    modules = "proxy.app, proxy.cli.serve, proxy.custody, proxy.store.postgres, proxy.store.sqlite, uvloop"
    loaded = server.exec("python", "-v", "-c", f"import {modules}").err
    timed = []
    for prefix in ("/opt/bearerd/compiled", "/nowhere"):
        begun = time.monotonic()
        assert 0 == server.exec("env", f"PYTHONPYCACHEPREFIX={prefix}", "python", "-c", f"import {modules}").code
        timed.append(time.monotonic() - begun)

    assert loaded.count("/compiled/") > 300
    assert [] == re.findall(r"code object from '(.+\.py)'", loaded)
    return timed[0], timed[1]


def check_sidecar(yard: Yard, image: Image) -> None:
    """The pod of deploy/kubernetes/sidecar.yaml: its probe becomes green on folders as a kubelet lays them out."""
    pod = Pod(yard.engine.folder / "sidecar", "sidecar.yaml")
    pod.secret("bearerd", {"master.key": os.urandom(32).hex()})
    (sidecar,) = pod.spec["initContainers"]
    container = pod.start(yard.engine, image, sidecar)

    probe = sidecar["livenessProbe"]["exec"]["command"]
    container.until(lambda: container.exec(*probe).code == 0)
    assert 2 == len(container.exec("bearerd", "clients", "add", "bot").out.split("_"))
    container.send(signal.SIGTERM)
    assert 0 == container.end(), container.output


def check_team(yard: Yard, image: Image) -> None:
    """A pod of deploy/kubernetes/team.yaml: its probes over TLS, and a call by the name of its Service."""
    pod = Pod(yard.engine.folder / "team", "team.yaml")
    authority = Authority(yard.engine.folder / "authority", "ca", now=SystemClock().now().wall)
    pair = authority.issue("bearerd", "bearerd.trading.svc")
    pod.secret("bearerd", {"master.key": os.urandom(32).hex(), "postgres.password": "asked-for-over-TCP-only"})
    pod.secret("bearerd-tls", {"tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text()})
    pod.secret("postgres-ca", {"ca.crt": authority.file.read_text()})
    environ = {"BEARERD_STORE": yard.store(), "BEARERD_SHUTDOWN__DRAIN_DELAY": "0"}  # or its end takes 5 s
    (migrate,), (main,) = pod.spec["initContainers"], pod.spec["containers"]
    tables = pod.start(yard.engine, image, migrate, environ, yard.sockets)
    assert 0 == tables.end(), tables.output
    container = pod.start(yard.engine, image, main, environ, yard.sockets)

    ports = {each["name"]: each["containerPort"] for each in main["ports"]}
    host = main["livenessProbe"]["httpGet"]["httpHeaders"][0]["value"]
    container.until(lambda: asked(container, ports["console"], "/livez", host).startswith("200"))
    assert "503 needs-login" in asked(container, ports["console"], "/readyz", host)
    assert "421" in asked(container, ports["console"], "/livez", "10.0.0.7:8081")
    assert "401" in asked(container, ports["https"], "/questrade/v1/accounts", f"bearerd.trading.svc:{ports['https']}")
    container.send(signal.SIGTERM)
    assert 0 == container.end(), container.output


def asked(container: Container, port: int, path: str, host: str) -> str:
    """Status and body of a request from inside; as a kubelet does, it looks at no certificate."""
    return container.exec("python", "-c", REQUEST, str(port), path, host).out


def check_contents(image: Image) -> None:
    """Labels and defaults; no pip, no compiler, nothing of the build's own settings, in no layer and no history."""
    config, root = image.config, image.root
    described = json.dumps([config, image.history])
    found = {path.name for path in root.rglob("*") if not path.is_symlink()}

    assert __version__ == config["Labels"]["org.opencontainers.image.version"]
    assert f"{BEARERD}:{BEARERD}" == config["User"]
    assert ["bearerd"] == config["Entrypoint"]
    assert set() == found & {"pip", "ensurepip", "setuptools", "hatchling", "gcc", "cc1", "pip.conf", "src", "locks"}
    assert [] == [*(root / "run").glob("secrets/*"), *(root / "var/cache").glob("pip*"), *(root / "tmp").iterdir()]
    assert CANARY not in described
    assert "secrets/ca" not in json.dumps(config)
    assert [] == holding(root / "opt", CANARY) + holding(root / "etc", CANARY) + holding(root / "var", CANARY)


def test_a_build_is_lent_the_way_to_packages_and_no_path() -> None:
    """Index, proxy and authority of pip's settings; what is a folder of this machine is left out."""
    settings = {
        "index-url": "https://user:s3kr3t@index.example/simple",
        "find-links": "/wheels file:///wheels https://wheels.example/",
        "constraint": "/etc/constraints.txt",
        "timeout": "60",
    }
    text = scripts_image().pip_conf(settings, authority=True)

    assert [
        "[global]",
        "index-url = https://user:s3kr3t@index.example/simple",
        "find-links = https://wheels.example/",
        "timeout = 60",
        "cert = /run/secrets/ca",
    ] == text.splitlines()
    assert "[global]\n" == scripts_image().pip_conf({"find-links": "/wheels"}, authority=False)


def test_the_image_is_called_as_the_compose_file_does() -> None:
    """So that `docker compose up` finds what `make image` has built."""
    assert SERVICES["bearerd"]["image"] == scripts_image().names()[0]


def test_nothing_that_is_lent_stands_on_the_command_line() -> None:
    """Other users of the machine can read command lines: they hold paths and names of variables, no values."""
    secret = "https://user:s3kr3t@proxy.example"
    with scripts_image().lent({"HTTPS_PROXY": secret, "PIP_CERT": __file__}) as options:
        line = shlex.join(options)
        file = Path(options[1].partition("src=")[2])
        mode = file.stat().st_mode & 0o777

    assert "s3kr3t" not in line
    assert "--build-arg HTTPS_PROXY" in line
    assert 0o600 == mode
    assert not file.exists()
