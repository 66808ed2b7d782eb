"""What is shipped for containers agrees with the product: manifests, compose file, Dockerfiles.

Every key of an embedded configuration, every variable, port, path, command and name in them is one that there is.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from proxy import __version__
from proxy.cli import cli
from proxy.config import Config, ConfigInvalid, Tcp
from proxy.config.keys import OTHER_VARIABLES, keys, variable
from proxy.console.server import FOR_MACHINES
from proxy.settings import read

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "deploy/kubernetes"
OLDEST = "1.33"  # of Kubernetes, where containers that stay beside others are at home
OPERATOR = "servicemonitor.yaml"  # of a kind that Kubernetes itself does not know
EXCHANGE = 30  # seconds that a token request which is under way is given when bearerd ends
COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
BOT = (ROOT / "examples/bot/bot.py").read_text("utf-8")


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all((MANIFESTS / name).read_text("utf-8")))


def of_kind(name: str, kind: str) -> dict[str, Any]:
    """The first object of that kind."""
    return next(each for each in documents(name) if each["kind"] == kind)


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = of_kind(name, "StatefulSet")["spec"]["template"]["spec"]
    return found


def containers(name: str) -> list[dict[str, Any]]:
    return [*pod(name).get("initContainers", ()), *pod(name)["containers"]]


def ours(name: str) -> Iterator[dict[str, Any]]:
    """The containers that run bearerd."""
    return (each for each in containers(name) if each["image"].startswith("bearerd:"))


def probes(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness") if f"{kind}Probe" in container]


def config_of(name: str, folder: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration that a manifest embeds, as bearerd reads it."""
    (text,) = of_kind(name, "ConfigMap")["data"].values()
    file = folder / "config.yaml"
    file.write_text(text)
    return read(file, {"HOME": str(folder)} | dict(environ or {})).config


WORKLOADS = [path.name for path in sorted(MANIFESTS.glob("*.yaml")) if path.name != OPERATOR]


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version().rpartition(".")[0]])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_manifest_is_what_kubernetes_takes(name: str, version: str) -> None:
    """No unknown key, no wrong type, by Kubernetes' own schemas; a key that is misspelt is found."""
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)

    wrong = of_kind(name, "StatefulSet")
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContex"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_keeps_to_the_restricted_standard(name: str) -> None:
    """No root, nothing to gain, no writing to the root, no token of the cluster, no memory without end."""
    found = pod(name)
    general = found["securityContext"]

    assert general["runAsNonRoot"] is True
    assert {"type": "RuntimeDefault"} == general["seccompProfile"]
    # Without it every file of the state would be opened to its group, which bearerd refuses.
    assert "OnRootMismatch" == general["fsGroupChangePolicy"]
    assert found["automountServiceAccountToken"] is False
    for container in containers(name):
        own = container["securityContext"]
        assert {"drop": ["ALL"]} == own["capabilities"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert (general | own)["runAsUser"] >= 10001
        assert "memory" in container["resources"]["limits"]
        assert "latest" not in container["image"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_embedded_configuration_is_read(name: str, tmp_path: Path) -> None:
    """By the product itself; and the time that Kubernetes gives a pod to end is as long as bearerd may take."""
    config = config_of(name, tmp_path)

    assert config.rights
    assert pod(name)["terminationGracePeriodSeconds"] >= config.shutdown.drain_delay + config.shutdown.grace + EXCHANGE


def test_links_to_services_would_be_taken_for_settings(tmp_path: Path) -> None:
    """What Kubernetes sets for a Service of our name is no setting: bearerd would not start, so it is told not to."""
    with pytest.raises(ConfigInvalid, match="BEARERD_PORT"):
        config_of("team.yaml", tmp_path, {"BEARERD_PORT": "tcp://10.0.0.7:8443"})

    assert [False] * len(WORKLOADS) == [pod(name)["enableServiceLinks"] for name in WORKLOADS]


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_file_that_is_named_lies_in_a_volume(name: str, tmp_path: Path) -> None:
    """Of a Secret, of the ConfigMap, or in the volume of the state, which alone can be written."""
    config = config_of(name, tmp_path)
    storage = [each["metadata"]["name"] for each in of_kind(name, "StatefulSet")["spec"]["volumeClaimTemplates"]]
    volumes = {each["name"]: each for each in pod(name)["volumes"]}
    for container in ours(name):
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert set(volumes) | set(storage) >= {each["name"] for each in mounts.values()}
        secret = [place for place, each in mounts.items() if "secret" in volumes.get(each["name"], {})]
        named = [config.tls.certificate_file, config.tls.key_file, config.store_password_file]
        named += [Path(found) for found in re.findall(r"sslrootcert=(\S+)", config.store)]
        named += [Path(each["value"]) / "x" for each in container["env"] if each["name"] == "CREDENTIALS_DIRECTORY"]
        assert [] == [path for path in named if path is not None and str(path.parent) not in secret]
        (state,) = (place for place, each in mounts.items() if each["name"] in storage)
        assert Path(state) in config.state_dir.parents  # a folder of its own: that of the volume is root's
        assert [] == [place for place, each in mounts.items() if place not in (state, "/tmp") and not each["readOnly"]]  # noqa: S108
        assert "/etc/bearerd" in mounts
    assert config.key.startswith("credential:")


def test_ports_and_probes_are_those_of_the_configuration(tmp_path: Path) -> None:
    """Listener and console, in pod, Services, network policy and monitor; probes ask for what the console has."""
    config = config_of("team.yaml", tmp_path)
    (container,) = (each for each in ours("team.yaml") if "ports" in each)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    (listen,), (console,) = config.listen, config.console
    assert isinstance(listen, Tcp)
    assert isinstance(console, Tcp)
    assert {"https": listen.port, "console": console.port} == ports
    for probe in probes(container):
        asked = probe["httpGet"]
        assert asked["path"] in FOR_MACHINES
        assert ("console", "HTTPS") == (asked["port"], asked["scheme"])
        assert [{"name": "Host", "value": f"localhost:{console.port}"}] == asked["httpHeaders"]
    services = {each["metadata"]["name"]: each for each in documents("team.yaml") if each["kind"] == "Service"}
    for service in services.values():
        # The same numbers: bearerd answers to its own names with its own port only.
        assert [] == [each for each in service["spec"]["ports"] if each["port"] != ports[each["targetPort"]]]
    assert of_kind("team.yaml", "StatefulSet")["spec"]["serviceName"] in services
    rules = of_kind("team.yaml", "NetworkPolicy")["spec"]["ingress"]
    assert set(ports) == {each["port"] for rule in rules for each in rule["ports"]}
    assert [["/livez"], ["/livez"], ["/readyz"]] == [[probe["httpGet"]["path"]] for probe in probes(container)]


def test_the_monitor_finds_the_replicas(tmp_path: Path) -> None:
    """Its labels and port are those of one Service, its path that of the metrics; each replica lets it in by name."""
    (monitor,) = documents(OPERATOR)
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [each for each in documents("team.yaml") if each["kind"] == "Service"]
    (found,) = (each for each in services if wanted <= each["metadata"]["labels"].items())
    (endpoint,) = monitor["spec"]["endpoints"]

    assert endpoint["path"] in FOR_MACHINES
    assert {endpoint["port"]: 8081} == {each["name"]: each["port"] for each in found["spec"]["ports"]}
    (by_name,) = endpoint["relabelings"]
    replicas = of_kind("team.yaml", "StatefulSet")
    names = [f"{replicas['metadata']['name']}-{number}" for number in range(replicas["spec"]["replicas"])]
    asked = [by_name["replacement"].replace("$1", name) for name in names]
    assert asked == list(config_of("team.yaml", tmp_path).allowed_hosts)
    assert asked[0].startswith(f"{names[0]}.{found['metadata']['name']}.")


def test_the_sidecar_is_not_to_be_reached_from_outside(tmp_path: Path) -> None:
    """It listens in the pod only, stays beside the bot, and is asked for its health from inside."""
    config = config_of("sidecar.yaml", tmp_path)
    (container,) = ours("sidecar.yaml")
    bot = pod("sidecar.yaml")["containers"][0]

    assert all(address.loopback for address in (*config.listen, *config.console))
    assert "Always" == container["restartPolicy"]
    assert [["bearerd", "healthcheck"]] * 2 == [probe["exec"]["command"] for probe in probes(container)]
    assert {"name": "BEARERD_URL", "value": f"http://{config.listen[0]}"} in bot["env"]
    assert [] == [each for each in documents("sidecar.yaml") if each["kind"] == "Service"]
    assert bot["securityContext"]["runAsUser"] != container["securityContext"]["runAsUser"]


def commands() -> Iterator[tuple[str, list[str]]]:
    """What bearerd is called with, wherever that is said."""
    for name, service in COMPOSE["services"].items():
        if service["image"].startswith("bearerd:") and "command" in service:
            yield name, service["command"]
    for name in WORKLOADS:
        for container in ours(name):
            if "args" in container:
                yield f"{name}/{container['name']}", container["args"]
    said = [(path.name, path.read_text("utf-8")) for path in (*MANIFESTS.glob("*.yaml"), ROOT / "docker-compose.yml")]
    for name, text in said:
        for found in re.findall(r"(?:-- |exec \w+ )bearerd ([a-z]+(?: [a-z]+)?)", text):
            yield name, found.split()


def test_every_command_is_one() -> None:
    """In arguments, and in the lines that tell a person what to type."""
    found = list(commands())

    assert {("migrate", "store"), ("demo", "demo"), ("sidecar.yaml", "clients")} <= {
        (name, words[0]) for name, words in found
    }
    for name, words in found:
        group: click.Command | None = cli
        for word in words:
            if not isinstance(group, click.Group):
                break  # the rest are its arguments
            group = group.get_command(click.Context(group), word)
            assert group is not None, f"{name}: bearerd {' '.join(words)}"


def environs() -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Where, image, and the variables that are set there."""
    for name, service in COMPOSE["services"].items():
        yield name, service["image"], service.get("environment", {})
    for name in WORKLOADS:
        for container in containers(name):
            values = {each["name"]: each["value"] for each in container["env"]}
            yield f"{name}/{container['name']}", container["image"], values
    stages = re.findall(r"^ENV (.+?[^\\])$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    pairs = dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(stages)))
    yield "Dockerfile", "bearerd:", pairs


def test_every_variable_is_read() -> None:
    """Those of bearerd's containers by bearerd, those of the bot's by the bot; and no secret is among them."""
    known = {variable(key) for key in keys()} | OTHER_VARIABLES
    for where, image, values in environs():
        named = {name for name in values if name.startswith("BEARERD_")}
        if image.startswith("bearerd:"):
            assert set() == named - known, where
        else:
            assert [] == [name for name in named if f'"{name}"' not in BOT], where
        secret = [name for name in values if re.search(r"PASSWORD|SECRET|TOKEN|KEY", name)]
        assert [] == [name for name in secret if not name.endswith(("_FILE", "_SOURCE"))], where


def test_all_images_are_of_this_version() -> None:
    """And every other one has a version too."""
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += [container["image"] for name in WORKLOADS for container in containers(name)]
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")

    assert {f"bearerd:{__version__}", f"bearerd-sample-bot:{__version__}"} == {
        image for image in images if "bearerd" in image
    }
    assert all(re.search(r":\d+[\w.-]*$", image) for image in images)
    assert f'org.opencontainers.image.version="{__version__}"' in dockerfile
    assert re.search(r"^ARG BASE_IMAGE=python:\d+\.\d+-slim-[a-z]+$", dockerfile, re.MULTILINE)


def test_services_are_confined_and_wait_for_each_other() -> None:
    """A read-only root, no capabilities but those that PostgreSQL starts with; this machine alone reaches them."""
    services = COMPOSE["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert [] == [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")], name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert (name == "postgres") == ("cap_add" in service), name
    assert "service:bearerd" == services["bot"]["network_mode"]
    assert {"condition": "service_healthy", "restart": True} == services["bot"]["depends_on"]["bearerd"]
    assert {"condition": "service_completed_successfully"} == services["bearerd"]["depends_on"]["migrate"]
    assert {"store": {"internal": True}}.items() <= COMPOSE["networks"].items()
    assert set(services["bot"].get("secrets", ())).isdisjoint(services["bearerd"]["secrets"])


def test_the_settings_of_compose_are_taken(tmp_path: Path) -> None:
    """With a configuration that says only whom to call and who may, as its comment asks for."""
    environ = {name: str(value) for name, value in COMPOSE["services"]["bearerd"]["environment"].items()}
    file = tmp_path / "config.yaml"
    file.write_text(
        "version: 1\n"
        "mounts: {questrade: {broker: questrade, environment: live, scopes: [read_acc]}}\n"
        "clients: {bot: {questrade: [read_acc]}}\n"
    )
    config = read(file, {"HOME": str(tmp_path), "STATE_DIRECTORY": "/var/lib/bearerd"} | environ).config
    stop = COMPOSE["services"]["bearerd"]["stop_grace_period"]

    published = [entry.rpartition(":")[2] for entry in COMPOSE["services"]["bearerd"]["ports"]]
    assert published == [str(address.port) for address in (*config.listen, *config.console) if isinstance(address, Tcp)]
    assert int(stop.removesuffix("s")) >= config.shutdown.drain_delay + config.shutdown.grace + EXCHANGE
    assert Path("/var/lib/bearerd") == config.state_dir
