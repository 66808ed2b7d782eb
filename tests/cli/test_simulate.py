"""`bearerd simulate`."""

import json
import signal
import urllib.request

from tests.cli.support import Person, line_of


def test_one_line_says_where_everything_is(person: Person) -> None:
    """With a first refresh token and a control address that answers; SIGTERM ends it with 0."""
    process = person.start("simulate", "--json")
    found = line_of(process)

    assert 1 == found["schema"]
    assert process.pid == found["pid"]
    assert {"control", "ca_file", "token_url", "refresh_token", "environment"} <= found.keys()
    with urllib.request.urlopen(found["control"] + "/state", timeout=5) as answer:  # noqa: S310
        assert 0 == json.load(answer)["questrade"]["token_posts"]
    process.send_signal(signal.SIGTERM)
    assert 0 == process.wait(10)


def test_a_person_gets_a_configuration_to_paste(person: Person) -> None:
    """Addresses, and the environment as it goes into `brokers:`."""
    process = person.start("simulate")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(9)]

    assert lines[0].startswith("control        http://127.0.0.1:")
    assert "    environments: " in lines[-1] or any("    environments: " in line for line in lines)
    process.send_signal(signal.SIGINT)
    assert 0 == process.wait(10)
