"""What a configuration makes of mounts, policy and token endpoints."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.admission import Mount
from proxy.assembly import USER_AGENT, endpoint_of, mount_of, needs_restart, policy_of
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.errors import Refusal
from proxy.halts import Halts
from proxy.relay.upstream import SessionUpstream
from proxy.secret import Secret
from proxy.settings import Settings, read
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.journal import Journal
from proxy.tokens.keeper import Keeper

TEXT = """
version: 1
{more}
mounts:
  questrade: {{broker: questrade, environment: live, scopes: [read_acc]}}
  alpaca: {{broker: alpaca, environment: paper, scopes: ["account:read"], grant: paper}}
  alpaca-data: {{broker: alpaca, api: data, environment: paper, scopes: [data], grant: paper}}
  alpaca-live: {{broker: alpaca, environment: live, scopes: ["account:read"]}}
  alpaca-broker: {{broker: alpaca, api: broker, environment: sandbox, scopes: ["broker:oauth"]}}
grants:
  paper: {{login: keys}}
  alpaca-live: {{login: keys}}
  alpaca-broker:
    login: client-credentials
    client_id: the-id
    client_secret: the-secret
    apps: {{app-1: {{client_secret: secret-of-app-1}}}}
clients:
  bot: {{alpaca: ["account:read"]}}
"""


def settings(tmp_path: Path, more: str = "") -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT.format(more=more), encoding="utf-8")
    return read(path, {"HOME": str(tmp_path)})


@pytest.fixture
def found(tmp_path: Path) -> Settings:
    return settings(tmp_path)


@pytest.fixture
async def keepers(found: Settings) -> AsyncIterator[dict[str, Keeper]]:
    """A keeper for each grant, not started."""
    sealer = Sealer(b"k" * 32, "a store")
    journal = await Journal.open(Path("/state/journal"), sealer, files=MemoryDisk())
    yield {
        name: Keeper(
            name,
            broker=grant.broker,
            environment=grant.environment,
            login=grant.login,
            vault=Vault(MemoryStore(), sealer),
            journal=journal,
            endpoint=endpoint_of(found, grant),
            clock=SystemClock(),
        )
        for name, grant in found.grants.items()
    }
    await journal.close()


@pytest.fixture
def keys() -> ClientKeys:
    store = MemoryStore()
    return ClientKeys(Vault(store, Sealer(b"k" * 32, store.store_id)), SystemClock())


@pytest.fixture
def halts() -> Halts:
    return Halts(Vault(MemoryStore(), Sealer(b"k" * 32, "id")), SystemClock())


def mounts(found: Settings, keepers: dict[str, Keeper]) -> dict[str, Mount]:
    upstream = SessionUpstream()
    return {name: mount_of(found, name, keepers=keepers, upstream=upstream) for name in found.config.mounts}


async def test_each_mount_has_the_address_of_its_own_api(found: Settings, keepers: dict[str, Keeper]) -> None:
    """Paper never leads to live, two APIs of one grant lead to two hosts, and only Questrade's answers choose one."""
    made = mounts(found, keepers)

    assert {
        "questrade": None,
        "alpaca": "paper-api.alpaca.markets",
        "alpaca-data": "data.alpaca.markets",
        "alpaca-live": "api.alpaca.markets",
        "alpaca-broker": "broker-api.sandbox.alpaca.markets",
    } == {name: (place := mount.relay._place).origin and str(place.origin) for name, mount in made.items()}
    assert ["main", "trading", "data", "trading", "broker"] == [mount.api for mount in made.values()]
    assert made["alpaca"].table is not made["alpaca-data"].table


async def test_applications_stay_with_their_grant(found: Settings, keepers: dict[str, Keeper]) -> None:
    """A kept secret is there for the mount of its grant, and for no other."""
    made = mounts(found, keepers)

    assert {"app-1": Secret("secret-of-app-1")} == made["alpaca-broker"].apps
    assert [{}] * 4 == [dict(mount.apps) for name, mount in made.items() if name != "alpaca-broker"]


async def test_a_mount_that_is_not_there_is_told(found: Settings, keepers: dict[str, Keeper]) -> None:
    """An operator may ask for any name."""
    with pytest.raises(LookupError):
        mount_of(found, "nothing", keepers=keepers, upstream=SessionUpstream())


async def test_the_name_towards_brokers_can_be_chosen(found: Settings, keepers: dict[str, Keeper]) -> None:
    """For calls and for token requests alike; else it is bearerd's own."""
    chosen = replace(found, config=found.config.model_copy(update={"user_agent": "desk/1.0"}))

    for each, expected in ((found, USER_AGENT), (chosen, "desk/1.0")):
        assert {expected} == {mount.user_agent for mount in mounts(each, keepers).values()}
        assert {expected} == {endpoint_of(each, grant).user_agent for grant in each.grants.values()}


def test_a_token_endpoint_knows_its_application(tmp_path: Path) -> None:
    """Id, secret, addresses and the way out are those of the grant."""
    found = settings(tmp_path, "egress_proxy: http://proxy.internal:3128")
    endpoint = endpoint_of(found, found.grants["alpaca-broker"])

    assert ("the-id", Secret("the-secret")) == (endpoint.client_id, endpoint.client_secret)
    assert "https://authx.sandbox.alpaca.markets/v1/oauth2/token" == endpoint.endpoints.token_url
    assert "http://proxy.internal:3128" == endpoint.egress


async def test_a_policy_knows_clients_by_their_keys(tmp_path: Path, keys: ClientKeys, halts: Halts) -> None:
    """A key leads to the rights of its client; a key of nobody that is listed, and no key, to a refusal."""
    policy = policy_of(await asyncio.to_thread(settings, tmp_path), {}, keys, halts)
    key, other = await keys.add("bot"), await keys.add("x")
    bound = await keys.add("bot", ["alpaca/user-17"])

    assert halts is policy.halts
    client = policy.keyring.identify_key(key.reveal(), 0.0)
    assert ({"alpaca": frozenset({"account:read"})}, ()) == (client.rights, client.grants)
    assert ("alpaca/user-17",) == policy.keyring.identify_key(bound.reveal(), 0.0).grants
    for nobody in (other.reveal(), None):
        with pytest.raises(Refusal):
            policy.keyring.identify_key(nobody, 0.0)


def test_without_clients_everybody_is_local(tmp_path: Path, keys: ClientKeys, halts: Halts) -> None:
    """`clients: none` needs no key."""
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\nclients: none\n")
    policy = policy_of(read(file, {"HOME": str(tmp_path)}), {}, keys, halts)

    assert "local" == policy.keyring.identify_key(None, 0.0).name


OWN = "tls: {local_ca: true}"
PLAIN_AND_TLS = f'{OWN}\nlisten: [127.0.0.1:1, "tls:0.0.0.0:2"]\n'


def test_what_cannot_change_in_a_running_server_is_named(tmp_path: Path) -> None:
    """Listeners, the store, the key, the event loop; and whether plain text is taken where TLS is, too."""
    old = settings(tmp_path, PLAIN_AND_TLS).config
    assert [] == needs_restart(old, settings(tmp_path, f"{PLAIN_AND_TLS}limits: {{connections: 7}}").config)
    certificate = "tls: {certificate_file: a, key_file: b}"
    for change, names in (
        ((OWN, certificate), []),
        (("127.0.0.1:1", "127.0.0.1:7"), ["listen"]),
        ((OWN, f"{OWN}\nstate: other"), ["state"]),
        ((OWN, f"{OWN}\nengine: {{express: false}}"), ["engine"]),
        ((PLAIN_AND_TLS, "store: sqlite:other.db"), ["listen", "store", "tls (on or off)"]),
    ):
        changed = settings(tmp_path, PLAIN_AND_TLS.replace(*change)).config
        assert names == needs_restart(old, changed)
    private = settings(tmp_path, PLAIN_AND_TLS.replace("127.0.0.1:1,", "0.0.0.0:1,") + "plaintext: accepted").config
    assert ["plaintext"] == needs_restart(private, private.model_copy(update={"plaintext": None}))
    asked = private.model_copy(update={"tls": private.tls.model_copy(update={"client_ca_file": tmp_path})})
    assert ["tls.client_ca_file"] == needs_restart(private, asked)
