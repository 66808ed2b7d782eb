"""`bearerd doctor`: what a person reads, and what a script goes by."""

from tests.cli.support import Person, invoke


def test_a_good_house_has_nothing_to_mend(customer: Person, new_token: str) -> None:
    """With a server that is logged in: the files, the store, the server, the broker's hosts, their clock."""
    customer.run("login", "questrade", "--token-stdin", stdin=new_token)
    server = customer.serve()
    done = customer.run("doctor", "--json")
    found = {each["check"]: (each["finding"], each["text"]) for each in done.document["findings"]}

    assert (0, True) == (done.code, done.document["ok"]), done.out
    for check in ("configuration", "state directory", "disk", "store", "mount questrade"):
        assert "good" == found[check][0], found
    assert f"process {server.pid} serves http://127.0.0.1:" in found["server"][1]
    hosts = {check: told for check, told in found.items() if check.startswith("host ")}
    assert 2 == len(hosts)  # the token endpoint, and the API's, which came with the token
    assert all("TLS in " in text for _, text in hosts.values())
    assert ["good"] == [word for check, (word, _) in found.items() if check.startswith("clock against ")]
    assert not [check for check in found if check.startswith("port ")]


def test_what_is_wrong_is_told_with_what_mends_it(customer: Person) -> None:
    """Nobody is logged in, a directory is open to others, nobody answers at the broker's: exit code 1."""
    (customer.home / "state").chmod(0o755)
    text = customer.config.read_text()
    start = text.index("127.0.0.1:", text.index("token_url"))
    customer.config.write_text(text[:start] + "127.0.0.1:1" + text[text.index("/", start) :])
    done = customer.run("doctor")

    assert 1 == done.code
    assert "✗ state directory" in done.out
    assert f"To fix: chmod 700 {customer.home}/state" in done.out
    assert "✗ host 127.0.0.1:1" in done.out
    assert "the connection was refused or could not be made (mounts: questrade)" in done.out
    assert "! server" in done.out
    assert "to mend" in done.err


def test_a_look_at_this_machine_only(customer: Person) -> None:
    """With --offline no host is looked at, so that a machine without a network is no fault."""
    done = customer.run("doctor", "--offline", "--json")

    assert 0 == done.code, done.out
    assert not [each for each in done.document["findings"] if each["check"].startswith(("host ", "clock against"))]


def test_a_mistake_in_the_configuration_comes_first(person: Person) -> None:
    """Exit code 3, with line and column, as everywhere."""
    path = person.write_config(**{"environment: live": "enviroment: live"})
    done = invoke("doctor", "-c", str(path))

    assert 3 == done.exit_code
    assert "config.yaml:9:5" in done.stderr
