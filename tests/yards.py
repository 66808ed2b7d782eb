"""Where containers are run in tests: a folder as docker-compose.yml wants it, and a pod as a kubelet lays it out."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.containers import Container, Engine, Image, Wish
from tests.database import Server, as_nobody
from tests.product import ROOT

BEARERD, BOT = 10001, 10002  # users

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]

CONFIG = """\
version: 1
mounts:
  questrade: {{broker: questrade, environment: simulator, scopes: [read_acc, read_md]}}
clients:
  bot: {{questrade: [read_acc, read_md]}}
brokers: {{questrade: {{environments: {{simulator: {environment}}}}}}}
"""


class Yard:
    """A folder as docker-compose.yml wants it, and how its services are run."""

    def __init__(self, engine: Engine, database: Server) -> None:
        self.engine = engine
        self.folder = engine.folder / "compose"
        self.state = engine.folder / "state"
        self.simulation = engine.folder / "simulation"
        for folder, user in ((self.folder, 0), (self.state, BEARERD), (self.simulation, BEARERD)):
            folder.mkdir(mode=0o755 if user == 0 else 0o700)
            os.chown(folder, user, user)
        # Every user of the machine has to get at the sockets, and at the folders below.
        engine.folder.chmod(0o711)
        self._sockets = engine.folder / "sockets"
        self._sockets.mkdir(mode=0o755)
        if (owner := as_nobody()) is not None:
            os.chown(self._sockets, *owner)
        database.start(unix_socket_directories=f"{database.directory},{self._sockets}")
        database.query("CREATE ROLE bearerd LOGIN")
        self._database = database
        self._store = self.store()
        self.secret("master_key", BEARERD, os.urandom(32).hex())
        self.secret("postgres_password", BEARERD, "not-asked-for-over-a-socket")

    def store(self) -> str:
        """The address of a new database, for a container with `sockets`."""
        name = self._database.create().rpartition("/")[2]
        return f"postgresql://bearerd@/{name}?host=/sockets&port={self._database.port}"

    @property
    def sockets(self) -> dict[str, tuple[Path, bool]]:
        """Where a container finds the database."""
        return {"/sockets": (self._sockets, False)}

    def secret(self, name: str, user: int, text: str) -> None:
        """One of the secrets, where the file says that it is."""
        path = self.folder / COMPOSE["secrets"][name]["file"]
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(f"{text}\n")
        path.chmod(0o400)
        os.chown(path, user, user)

    def start(self, image: Image, name: str, beside: Container | None, *command: str) -> Container:
        """A service of the file. Its database is ours, and its network that of `beside`."""
        service = SERVICES[name]
        assert service["read_only"]
        assert ["ALL"] == service["cap_drop"]
        environ = dict(service.get("environment", {}))
        mounts = {f"/run/secrets/{each}": (self.folder / COMPOSE["secrets"][each]["file"], False)
                  for each in service.get("secrets", ())}  # fmt: skip
        for entry in service.get("volumes", ()):
            source, place, *_ = entry.split(":")
            mounts[place] = (self.folder / source, False) if source.startswith(".") else (self.state, True)
        if "BEARERD_STORE" in environ:
            environ["BEARERD_STORE"] = self._store
            # Both stand for what a service would reach over the network, and trust by the machine's authorities.
            mounts |= {**self.sockets, "/simulation": (self.simulation, False)}
        wish = Wish(
            command=[*service.get("command", ()), *command],
            environ={key: str(value) for key, value in environ.items()},
            user=service["user"],
            mounts=mounts,
            tmpfs=service.get("tmpfs", ()),
            beside=beside,
        )
        return self.engine.run(image, wish)

    def simulate(self, image: Image) -> tuple[Container, dict[str, Any]]:
        """Questrade, simulated in a container, and what it says of itself."""
        wish = Wish(
            command=["simulate", "--json", "--broker", "questrade", "--directory", "/simulation"],
            mounts={"/simulation": (self.simulation, True)},
            tmpfs=["/tmp:mode=1777"],  # noqa: S108  the container's own
        )
        container = self.engine.run(image, wish)
        container.until(lambda: "\n" in container.out)
        document = json.loads(container.out)
        file = self.folder / "config.yaml"
        file.write_text(CONFIG.format(environment=json.dumps(document["brokers"]["questrade"]["environment"])))
        return container, document


class Pod:
    """A pod of a manifest, with its volumes as a kubelet lays them out: root's, open to the group of `fsGroup`.

    Files of secrets and of the configuration are links into a folder that is replaced as a whole.
    """

    def __init__(self, folder: Path, manifest: str) -> None:
        documents = list(yaml.safe_load_all((ROOT / "deploy/kubernetes" / manifest).read_text("utf-8")))
        by_kind = {document["kind"]: document for document in documents}
        self.spec: dict[str, Any] = by_kind["StatefulSet"]["spec"]["template"]["spec"]
        self._group = self.spec["securityContext"]["fsGroup"]
        self._folder = folder
        folder.mkdir(mode=0o755)
        self._fill("config", by_kind["ConfigMap"]["data"], 0o644)
        state = folder / "state"
        state.mkdir()
        os.chown(state, 0, self._group)
        state.chmod(0o2775)

    def secret(self, name: str, values: Mapping[str, str]) -> None:
        """The Secret of that name, in the volume that asks for it."""
        (volume,) = (each for each in self.spec["volumes"] if each.get("secret", {}).get("secretName") == name)
        self._fill(volume["name"], values, volume["secret"]["defaultMode"] | 0o040)

    def _fill(self, volume: str, values: Mapping[str, str], mode: int) -> None:
        place = self._folder / volume
        data = place / "..2026_11_22"
        data.mkdir(parents=True)
        (place / "..data").symlink_to(data.name)
        for name, value in values.items():
            (data / name).write_text(value)
            os.chown(data / name, 0, self._group)
            (data / name).chmod(mode)
            (place / name).symlink_to(f"..data/{name}")
        for each in (place, data):
            os.chown(each, 0, self._group)
            each.chmod(0o2755)

    def start(
        self,
        engine: Engine,
        image: Image,
        container: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        mounts: Mapping[str, tuple[Path, bool]] | None = None,
    ) -> Container:
        """One container of the pod. `environ` and `mounts`: where its database is."""
        context = self.spec["securityContext"] | container["securityContext"]
        own = {each["mountPath"]: (self._folder / each["name"], not each.get("readOnly", False))
               for each in container["volumeMounts"] if each["name"] != "tmp"}  # fmt: skip
        wish = Wish(
            command=container.get("args", ()),
            environ={each["name"]: each["value"] for each in container["env"]} | dict(environ or {}),
            user=f"{context['runAsUser']}:{context['runAsGroup']}",
            mounts=own | dict(mounts or {}),
            tmpfs=["/tmp:mode=1777"],  # noqa: S108  the container's own
        )
        return engine.run(image, wish)
