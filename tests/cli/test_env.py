"""`bearerd env`."""

import json
import stat

from proxy.clock import SystemClock
from proxy.gate.clients import new_key
from tests.authority import Authority
from tests.cli.support import Person, invoke

KEY = new_key(bytes).reveal()
FIXED = {"listen: 127.0.0.1:0": "listen: 127.0.0.1:8080"}


def test_the_key_comes_from_the_environment(person: Person) -> None:
    """BEARERD_KEY and the configured address make the variables of a shell."""
    path = str(person.write_config(**FIXED))
    result = invoke("env", "questrade", "-c", path, BEARERD_KEY=KEY)

    assert 0 == result.exit_code
    assert f"export BEARERD_KEY='{KEY}'" in result.stdout
    assert "export QUESTRADE_API_SERVER='http://127.0.0.1:8080/questrade/'" in result.stdout


def test_the_key_comes_from_stdin(person: Person) -> None:
    """So that it stands in no environment and no argv."""
    person.write_config(**FIXED)
    done = person.run("env", "questrade", "--json", "--key-stdin", stdin=KEY + "\n")

    assert KEY == done.document["variables"]["BEARERD_KEY"]


def test_a_file_is_private_and_never_replaced_unasked(person: Person) -> None:
    """Mode 0600, its folder is made, and a second run needs --yes."""
    path = person.write_config(**FIXED)
    file = person.home / "deep/questrade.json"
    arguments = ("env", "questrade", "--format", "questrade_api", "-o", str(file), "-c", str(path))

    assert 0 == invoke(*arguments, BEARERD_KEY=KEY).exit_code
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert KEY == json.loads(file.read_text())["access_token"]
    assert 1 == invoke(*arguments, BEARERD_KEY=KEY).exit_code
    assert 0 == invoke(*arguments, "--yes", BEARERD_KEY=KEY).exit_code


def test_without_a_key_nothing_is_printed(person: Person) -> None:
    """A usage error that says how to give one."""
    result = invoke("env", "questrade", "-c", str(person.write_config(**FIXED)))

    assert (2, "") == (result.exit_code, result.stdout)
    assert "--key-stdin" in result.stderr


def test_a_mistyped_key_is_told_but_not_shown(person: Person) -> None:
    """Its checksum does not fit."""
    wrong = KEY[:-1] + ("0" if KEY[-1] != "0" else "1")
    result = invoke("env", "questrade", "-c", str(person.write_config(**FIXED)), BEARERD_KEY=wrong)

    assert 1 == result.exit_code
    assert "checksum" in result.stderr
    assert wrong not in result.output


def test_an_open_server_needs_no_key(person: Person) -> None:
    """With `clients: none` programs send a dummy."""
    changes = {**FIXED, "clients:\n  notebook: {questrade: [read_md]}": "clients: none"}
    result = invoke("env", "questrade", "-c", str(person.write_config(**changes)))

    assert "QUESTRADE_ACCESS_TOKEN='local'" in result.stdout


def test_a_new_key_can_be_made_on_the_way(customer: Person) -> None:
    """--client makes one, which then counts as a key of that client; port 0 needs the server's word."""
    text = customer.config.read_text()
    customer.config.write_text(text.replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:8080"))
    done = customer.run("env", "questrade", "--client", "notebook", "--json")

    assert done.document["variables"]["BEARERD_KEY"].startswith("brd_")
    assert 2 == customer.run("clients", "list", "--json").document["clients"][0]["keys"]


def test_a_library_of_another_broker_is_refused(person: Person) -> None:
    """An unknown mount is a failure that names those that there are."""
    result = invoke("env", "alpaca", "-c", str(person.write_config(**FIXED)), BEARERD_KEY=KEY)

    assert 1 == result.exit_code
    assert "known: questrade" in result.stderr


def test_a_file_below_home_is_not_replaced_unasked(person: Person) -> None:
    """The shell leaves the tilde of `--output=~/file` alone; the file that it means is still left as it is."""
    precious = person.home / "token.json"
    precious.write_text("precious")
    arguments = ["env", "questrade", "-c", str(person.write_config(**FIXED)), "--output=~/token.json"]
    surroundings = {"HOME": str(person.home), "BEARERD_KEY": KEY}

    assert 1 == invoke(*arguments, **surroundings).exit_code
    assert "precious" == precious.read_text()
    assert 0 == invoke(*arguments, "--yes", **surroundings).exit_code
    assert KEY in precious.read_text()


SEVERAL = """\
version: 1
listen: 0.0.0.0:8080
plaintext: accepted
store: sqlite:state/store.db
mounts:
  questrade: {broker: questrade, environment: live, scopes: [read_md]}
  alpaca: {broker: alpaca, environment: paper, grant: keys, scopes: ["account:read"], port: 8180}
  alpaca-data: {broker: alpaca, environment: paper, api: data, grant: keys, scopes: [data]}
grants:
  keys: {login: keys}
clients:
  notebook: {questrade: [read_md]}
"""


OPEN = "listen: 0.0.0.0:8080\nplaintext: accepted\n"


def test_all_brokers_are_printed_where_none_is_named(person: Person) -> None:
    """With what each SDK reads, and without what would win over keys."""
    person.config.write_text(SEVERAL)
    result = invoke("env", "-c", str(person.config), "--json", BEARERD_KEY=KEY)

    document = json.loads(result.stdout)
    assert ["questrade", "alpaca", "alpaca-data"] == document["mounts"]
    assert "http://127.0.0.1:8080/alpaca" == document["variables"]["APCA_API_BASE_URL"]
    assert "http://127.0.0.1:8080/alpaca-data" == document["variables"]["APCA_DATA_BASE_URL"]
    assert KEY == document["variables"]["APCA_API_SECRET_KEY"]
    assert {"APCA_API_OAUTH", "APCA_API_OAUTH_TOKEN"} <= set(document["unset"])


def test_a_named_mount_leaves_the_other_brokers_out(person: Person) -> None:
    """Nothing is said of Alpaca's variables, neither set nor taken away."""
    person.config.write_text(SEVERAL)
    result = invoke("env", "questrade", "-c", str(person.config), BEARERD_KEY=KEY)

    assert 0 == result.exit_code
    assert "APCA" not in result.stdout


def test_a_token_file_finds_its_broker_s_mount(person: Person) -> None:
    """It need not be named where only one fits; a broker without one is a wrong use."""
    person.config.write_text(SEVERAL)

    result = invoke("env", "-c", str(person.config), "--format", "questrade_api", BEARERD_KEY=KEY)
    assert "http://127.0.0.1:8080/questrade/" == json.loads(result.stdout)["api_server"]
    result = invoke("env", "alpaca", "-c", str(person.config), "--format", "qtrade", BEARERD_KEY=KEY)
    assert 2 == result.exit_code
    assert "qtrade is a library for questrade" in result.stderr


def test_addresses_are_those_of_the_certificate(person: Person) -> None:
    """With TLS a program must call a name that the certificate is for, or it would refuse us."""
    ours = Authority(person.home / "tls", "ours", now=SystemClock().now().wall)
    ours.issue("server", "bearerd.internal")
    tls = "tls: {certificate_file: tls/server.crt, key_file: tls/server.key}\n"
    path = str(person.write_config(**FIXED, **{"clients:\n": f"{tls}clients:\n"}))

    result = invoke("env", "questrade", "-c", path, BEARERD_KEY=KEY)

    assert "export BEARERD_URL='https://bearerd.internal:8080'" in result.stdout
    assert "export QUESTRADE_API_SERVER='https://bearerd.internal:8080/questrade/'" in result.stdout
    (person.home / "tls/server.crt").write_text("no certificate")
    result = invoke("env", "questrade", "-c", path, BEARERD_KEY=KEY)
    assert (3, "") == (result.exit_code, result.stdout)
    assert "server.crt holds no certificate in PEM" in result.stderr


def test_programs_that_insist_on_tls_are_led_to_it_and_trust_it(person: Person) -> None:
    """With a local CA: the stream's address, and the files that hold it; everything else stays as it was."""
    unset = dict.fromkeys(("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "")
    text = SEVERAL.replace(OPEN, 'listen: [127.0.0.1:8080, "tls:127.0.0.1:8443"]\n')
    person.config.write_text(text + "tls: {local_ca: true}\n")
    path = str(person.config)
    without = invoke("env", "-c", path, BEARERD_KEY=KEY, **unset)
    assert (3, True) == (without.exit_code, "run: bearerd tls init" in without.stderr)
    invoke("tls", "init", "-c", path)

    found = json.loads(invoke("env", "-c", path, "--json", BEARERD_KEY=KEY, **unset).stdout)["variables"]

    tls = person.home / "state/tls"
    assert {"NODE_EXTRA_CA_CERTS": str(tls / "ca.pem")} | dict.fromkeys(
        ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(tls / "bundle.pem")
    ) == {name: found[name] for name in unset}
    assert "http://127.0.0.1:8080" == found["BEARERD_URL"]
    assert found["APCA_API_STREAM_URL"].startswith("wss://127.0.0.1:8443/")
    assert "http://127.0.0.1:8080/alpaca" == found["APCA_API_BASE_URL"]
    token_file = invoke("env", "-c", path, "--format", "qtrade", BEARERD_KEY=KEY, **unset)
    assert "CERT" not in token_file.stdout


def test_an_address_with_tls_that_cannot_be_verified_is_handed_to_nobody(person: Person) -> None:
    """With a certificate of one's own that this machine does not trust, or before the server runs."""
    ours = Authority(person.home / "tls", "ours", now=SystemClock().now().wall)
    ours.issue("server", "localhost", "127.0.0.1")
    text = SEVERAL.replace(OPEN, 'listen: [127.0.0.1:8080, "tls:127.0.0.1:9"]\n')
    person.config.write_text(text + "tls: {certificate_file: tls/server.crt, key_file: tls/server.key}\n")

    found = json.loads(invoke("env", "-c", str(person.config), "--json", BEARERD_KEY=KEY).stdout)["variables"]

    assert found["APCA_API_STREAM_URL"].startswith("ws://127.0.0.1:8080/")
    assert "NODE_EXTRA_CA_CERTS" not in found
