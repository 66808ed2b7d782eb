from pathlib import Path

from proxy.config import Config, Mark, parse_yaml
from tests.config.conftest import LoadText

TEXT = """\
listen: localhost:8080
mounts:
  questrade: {broker: questrade, environment: live, scopes: [read_acc]}
  second: {broker: questrade, environment: live, scopes: [], grant: questrade}
grants: {questrade: {client_id: me, client_secret: canary-secret}}
clients: none
brokers: {questrade: {environments: {lab: {ca_file: ca.pem}}}}
store: sqlite:state/store.db
"""


def _config(load_text: LoadText, text: str = TEXT, **environ: str) -> Config:
    return load_text(text, **environ).require()


def test_places_follow_from_the_store_and_the_file(load_text: LoadText, state_dir: Path) -> None:
    """State lies beside the store, relative paths start at the file."""
    config = _config(load_text)
    assert ("config.yaml", state_dir) == (config.name, config.base)
    assert (state_dir / "state/store.db", state_dir / "state") == (config.store_path, config.state_dir)


def test_state_may_lie_elsewhere(load_text: LoadText, state_dir: Path) -> None:
    """Of a database's server below the home directory, unless `state` says where; so it may for a SQLite store."""
    database = TEXT.replace("sqlite:state/store.db", "postgresql://b@db/x")

    assert (None, Path("/home/somebody/.local/state/bearerd")) == _places(_config(load_text, database))
    assert (None, state_dir / "own") == _places(_config(load_text, f"{database}state: own\n"))
    assert (state_dir / "state/store.db", state_dir / "own") == _places(_config(load_text, f"{TEXT}state: own\n"))


def _places(config: Config) -> tuple[Path | None, Path]:
    return config.store_path, config.state_dir


def test_what_follows_from_other_keys(load_text: LoadText) -> None:
    """A mount's grant is named like it unless it says otherwise; `none` opens to all."""
    config = _config(load_text)
    assert ("questrade", "questrade") == (config.grant_of("questrade"), config.grant_of("second"))
    assert config.open_to_all
    assert not _config(load_text, TEXT.replace("none", "{}")).open_to_all


def test_brokers_are_handed_on_as_written(load_text: LoadText) -> None:
    """With marks, for the room that knows what a broker is."""
    brokers = _config(load_text).brokers
    assert {"questrade": {"environments": {"lab": {"ca_file": "ca.pem"}}}} == brokers.data
    assert Mark(7, 53) == brokers.mark(("questrade", "environments", "lab", "ca_file"))
    assert {} == _config(load_text, "version: 1\n").brokers.data


def test_later_checks_can_point_at_the_file(load_text: LoadText) -> None:
    """`mark`, `origin` and `problem` serve checks that need broker definitions."""
    config = _config(load_text, BEARERD_LOG__LEVEL="debug")
    path = ("mounts", "questrade", "scopes", 0)
    assert (Mark(3, 62), "config.yaml:3") == (config.mark(path), config.origin(path))
    assert "config.yaml:3:62: error: mounts.questrade.scopes.0: unknown scope" == str(
        config.problem(path, "unknown scope")
    )
    assert ("BEARERD_LOG__LEVEL", "default") == (config.origin(("log", "level")), config.origin(("log", "format")))


def test_what_is_in_force_is_shown_without_secrets(load_text: LoadText) -> None:
    """Every key with its value, secrets as `***`, origins behind the values."""
    config = _config(load_text)
    assert {"client_id": "me", "client_secret": "***", "apps": {}} == config.effective()["grants"]["questrade"]
    sockets = {"compression", "heartbeat", "message_bytes", "sockets_per_client"}
    others = {"body_bytes", "connections", "in_flight_per_client", "pacing"}
    assert sockets | others == config.effective()["limits"].keys()
    shown = config.to_yaml(origin=True)
    assert "canary" not in shown + config.to_yaml() + repr(config)
    assert "    client_id: me  # config.yaml:5\n" in shown
    assert "  level: info  # default\n" in shown


def test_what_is_shown_can_be_read_again(load_text: LoadText) -> None:
    """`config show` is a configuration, and the same one."""
    text = TEXT.replace(", client_secret: canary-secret", "") + "console: off\nuser_agent: 'a: b #1'\n"
    config = _config(load_text, text)
    assert () == parse_yaml(config.to_yaml(), "again").problems
    assert config.effective() == _config(load_text, config.to_yaml()).effective()
    assert "off" == config.effective()["console"]
