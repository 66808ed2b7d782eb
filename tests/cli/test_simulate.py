"""`bearerd simulate`."""

import signal
import ssl
import time
import urllib.error
import urllib.request

import pytest

from tests.cli.support import Person, invoke
from tests.product import START, Program, command, state


def test_one_line_says_where_everything_is(person: Person) -> None:
    """With a first refresh token and a control address that answers; SIGTERM ends it with 0."""
    simulator = person.start("simulate", "--json")
    found = simulator.document()

    assert 1 == found["schema"]
    assert simulator.pid == found["pid"]
    assert {"control", "ca_file", "token_url", "refresh_token", "environment"} <= found.keys()
    assert ["questrade", "tradier", "alpaca"] == list(found["brokers"])
    assert found["token_url"] == found["brokers"]["questrade"]["token_url"]
    assert "secret" in found["brokers"]["tradier"]["logins"]["personal"]
    assert 0 == state(found["control"])["token_posts"]
    assert 0 == simulator.stop()


def test_a_person_gets_a_configuration_to_paste(person: Person) -> None:
    """Addresses, what each login needs, and the environments as they go into `brokers:`."""
    simulator = person.start("simulate", "--broker", "tradier", "--callback", "http://127.0.0.1:1/x")
    simulator.until("\n    environments: ")

    assert simulator.out.startswith("control  http://127.0.0.1:")
    assert "client_secret  demo-tradier-secret" in simulator.out
    assert "questrade" not in simulator.out
    assert 0 == simulator.stop(signal.SIGINT)


def test_slow_answers_take_as_long_as_asked_for(person: Person) -> None:
    """`--slow 0.3` instead of three seconds."""
    simulator = person.start("simulate", "--json", "--broker", "questrade", "--slow", "0.3")
    found = simulator.document()
    command(found["control"], "/faults", fault="token-slow")
    trust = ssl.create_default_context(cafile=found["ca_file"])
    agent = {"User-Agent": "person/1"}
    request = urllib.request.Request(found["token_url"], data=b"grant_type=none", headers=agent)  # noqa: S310
    began = time.monotonic()
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(request, context=trust, timeout=10)  # noqa: S310
    refused.value.close()

    assert 0.3 <= time.monotonic() - began < 2.5
    assert 0 == simulator.stop()


BROKER = """
name: tiny
login: {kind: secret, secret: [s3cret]}
calls:
  - {method: GET, path: /v1/things, json: []}
"""


def test_a_broker_of_a_file_is_simulated_alone(person: Person) -> None:
    """Whoever brings a broker of their own wants that one, unless others are named too."""
    (person.home / "tiny.yaml").write_text(BROKER, "utf-8")
    alone = person.start("simulate", "--json", "--file", "tiny.yaml")
    both = person.start("simulate", "--json", "--file", "tiny.yaml", "--broker", "questrade")

    assert ["tiny"] == list(alone.document()["brokers"])
    assert ["questrade", "tiny"] == list(both.document()["brokers"])
    assert [0, 0] == [alone.stop(), both.stop()]


def test_an_unknown_broker_is_a_usage_error(person: Person) -> None:
    """The message names those that there are."""
    done = person.run("simulate", "--broker", "tardier")

    assert 2 == done.code
    assert "questrade, tradier, alpaca" in done.err


def under_way(program: Program, person: Person, file: str) -> None:
    """Return when a file with a name like `file` is there."""
    end = time.monotonic() + START
    while not list(person.home.glob(file)):
        assert time.monotonic() < end, program.output
        assert program.code is None, program.output
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_during_the_start_leaves_nothing_behind(person: Person, number: signal.Signals) -> None:
    """The signal comes as soon as there is a directory; a closed terminal counts as a stop."""
    simulator = person.start("simulate", TMPDIR=str(person.home))
    under_way(simulator, person, "bearerd-simulate-*")

    assert 0 == simulator.stop(number)
    assert [] == list(person.home.glob("bearerd-simulate-*"))


def test_a_port_with_no_room_above_it_is_a_usage_error() -> None:
    """The listeners of the brokers take the ports that follow."""
    assert 2 == invoke("simulate", "--port", "65535").exit_code
