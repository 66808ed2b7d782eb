import pytest

from tests.config.conftest import LoadText

MOUNT = "mounts: {questrade: {broker: questrade, environment: live, scopes: [read_acc, read_md], port: PORT}}\n"
BEYOND = "clients.nb.questrade.0: scope 'trade' is not among mounts.questrade.scopes"
Q = MOUNT.replace(", port: PORT", "")
AT = "mounts.questrade.stream_ports"


def _found(load_text: LoadText, text: str, **environ: str) -> list[str]:
    return [problem.text for problem in load_text(text, **environ).problems]


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        ("{nb: {questrade: [read_acc]}}", []),
        ("none", []),
        ("{nb: {questrad: [x]}}", ["clients.nb.questrad: no mount is called 'questrad', did you mean 'questrade'?"]),
        ("{nb: {zzz: [x]}}", ["clients.nb.zzz: no mount is called 'zzz', known here: questrade"]),
        (
            "{nb: {questrade: [trade, read_acc]}}",
            [f"{BEYOND}, add it there or remove it here"],
        ),
        (
            "{nb: {questrade: [read_ac]}}",
            ["clients.nb.questrade.0: scope 'read_ac' is not among mounts.questrade.scopes, did you mean 'read_acc'?"],
        ),
    ],
)
def test_clients_stay_within_their_mounts(load_text: LoadText, clients: str, expected: list[str]) -> None:
    """A client's mounts exist, and its scopes are among the mount's."""
    assert expected == _found(load_text, f"{Q}clients: {clients}\n")


def test_no_mounts_at_all_is_said(load_text: LoadText) -> None:
    """The list of what is known may be empty."""
    assert ["clients.nb.q: no mount is called 'q', known here: none yet"] == _found(
        load_text, "clients: {nb: {q: []}}\n"
    )


def test_mounts_share_a_grant_only_within_one_environment(load_text: LoadText) -> None:
    """One login belongs to one broker and one environment."""
    text = (
        "mounts:\n"
        "  a: {broker: x, environment: live, scopes: [], grant: g}\n"
        "  b: {broker: x, environment: live, scopes: [], grant: g}\n"
        "  c: {broker: y, environment: paper, scopes: [], grant: g}\n"
    )
    fix = "though both use grant 'g', make them equal or give each its own grant"
    assert [
        f"mounts.c.broker: differs from mounts.a.broker, {fix}",
        f"mounts.c.environment: differs from mounts.a.environment, {fix}",
    ] == _found(load_text, text)


def test_a_grant_that_nobody_uses_is_a_typo(load_text: LoadText) -> None:
    """Its login data would silently not be used."""
    assert ["grants.questrad: no mount uses grant 'questrad', did you mean 'questrade'?"] == _found(
        load_text, f"{Q}grants: {{questrad: {{client_id: x}}}}\n"
    )


def test_a_secret_is_given_once(load_text: LoadText) -> None:
    """In place or in a file, not both; from one layer."""
    text = f"{Q}grants: {{questrade: {{client_secret: canary, client_secret_file: x}}}}\n"
    twice = "grants.questrade.client_secret_file: client_secret is given too, remove one of the two"
    assert twice in _found(load_text, text)
    in_environment = {
        "BEARERD_GRANTS__QUESTRADE__CLIENT_SECRET": "canary",
        "BEARERD_GRANTS__QUESTRADE__CLIENT_SECRET_FILE": "x",
    }
    assert twice in _found(load_text, Q, **in_environment)
    text = f"{Q}grants: {{questrade: {{apps: {{one: {{client_secret: canary, client_secret_file: x}}}}}}}}\n"
    assert [twice.replace("questrade.", "questrade.apps.one.")] == _found(load_text, text)


TLS = "tls: {certificate_file: a.crt, key_file: a.key}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen: 127.0.0.1:1\nclients: none\n", []),
        ("listen: unix:/a.sock\nclients: none\n", []),
        ("listen: 0.0.0.0:1\nplaintext: accepted\nclients: {nb: {questrade: []}}\n", []),
        ("listen: 0.0.0.0:1\nclients: {nb: {questrade: []}}\n", ["tls"]),
        ("listen: 0.0.0.0:1\nplaintext: accepted\nclients: none\n", ["key"]),
        ("listen: ['127.0.0.1:1', '[::]:1']\n", ["key", "tls"]),
        ("console: 10.0.0.1:1\n", ["tls"]),
        ("console: 10.0.0.1:1\nplaintext: accepted\n", []),
        (f"listen: 0.0.0.0:1\n{TLS}clients: {{nb: {{questrade: []}}}}\n", []),
        (f"listen: 0.0.0.0:1\n{TLS}", ["key"]),
        (f"listen: 0.0.0.0:1\n{TLS}clients: none\n", ["key"]),
        (f"listen: 0.0.0.0:1\n{TLS}clients: {{}}\n", ["key"]),
        (f"{TLS}console: '[::]:1'\n", []),
        (f"listen: 127.0.0.1:1\n{TLS}clients: none\n", []),
        ("listen: 0.0.0.0:1\nconsole: 0.0.0.0:2\nclients: {nb: {questrade: []}}\n", ["tls", "tls"]),
        (f"listen: ['127.0.0.1:1', 'tls:0.0.0.0:2']\n{TLS}clients: {{nb: {{questrade: []}}}}\n", []),
        (f"listen: ['127.0.0.1:1', 'tls:0.0.0.0:2']\n{TLS}clients: none\n", ["key"]),
        (f"listen: ['0.0.0.0:1', 'tls:0.0.0.0:2']\n{TLS}clients: {{nb: {{questrade: []}}}}\n", ["mixed"]),
        (f"listen: ['0.0.0.0:1', 'tls:[::]:2']\nplaintext: accepted\n{TLS}clients: {{nb: {{questrade: []}}}}\n", []),
        (f"listen: 'tls:0.0.0.0:2'\nconsole: 0.0.0.0:3\n{TLS}clients: {{nb: {{questrade: []}}}}\n", []),
    ],
)
def test_beyond_this_machine_needs_keys_and_consent(load_text: LoadText, text: str, expected: list[str]) -> None:
    """Client keys on the data listener whatever else there is, and TLS or `plaintext: accepted` on either."""
    kinds = {
        "tls": "can be reached from other machines without TLS, "
        "add `tls:`, listen on 127.0.0.1, or write `plaintext: accepted` if that network is private",
        "mixed": "can be reached from other machines without TLS, "
        "write tls:0.0.0.0:1, listen on 127.0.0.1, or write `plaintext: accepted` if that network is private",
        "key": "can be reached from other machines without a client key, "
        "name the `clients:` that may call, or listen on 127.0.0.1",
    }
    found = _found(load_text, Q + text)
    assert len(expected) == len(found)
    assert all(problem.endswith(kinds[kind]) for kind, problem in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("port", "more", "expected"),
    [
        ("8180", "", []),
        ("0", "listen: 127.0.0.1:0\nconsole: 127.0.0.1:0\n", []),
        ("8180", "listen: localhost:8080\n", []),
        ("8080", "", ["mounts.questrade.port: port 8080 is already taken by listen"]),
        ("8081", "", ["mounts.questrade.port: port 8081 is already taken by console"]),
        ("8180", "console: 127.0.0.1:8080\n", ["console: port 8080 is already taken by listen"]),
        (
            "8180",
            "console: off\nlisten: ['127.0.0.1:1', '127.0.0.1:1']\n",
            ["listen.1: port 1 is already taken by listen"],
        ),
    ],
)
def test_a_port_has_one_use(load_text: LoadText, port: str, more: str, expected: list[str]) -> None:
    """Listeners, console and mounts do not share ports; 0 is any free one."""
    fix = ", choose another, or 0 for any free one"
    assert [f"{text}{fix}" for text in expected] == _found(load_text, MOUNT.replace("PORT", port) + more)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("8090-8099", []),
        ("8070-8080", [f"{AT}: port 8080 is already taken by listen, choose other ports"]),
        ("8081", [f"{AT}: port 8081 is already taken by console, choose other ports"]),
        ("8179-8180", [f"{AT}: port 8180 is already taken by mounts.questrade.port, choose other ports"]),
    ],
)
def test_ports_of_streams_have_no_other_use(load_text: LoadText, ports: str, expected: list[str]) -> None:
    """One problem for a range, however many of its ports are taken."""
    text = MOUNT.replace("PORT", "8180").replace("port:", f"stream_ports: {ports}, port:")
    assert f"stream_ports: {ports}" in text
    assert expected == _found(load_text, text)


def test_two_mounts_share_no_ports_of_streams(load_text: LoadText) -> None:
    """A port stands for a stream of one mount."""
    mount = "{broker: questrade, environment: live, scopes: [read_acc], stream_ports: 8090-8099}"
    expected = ["mounts.b.stream_ports: port 8090 is already taken by mounts.a.stream_ports, choose other ports"]
    assert expected == _found(load_text, f"mounts:\n  a: {mount}\n  b: {mount}\n")


def test_broken_shapes_do_not_stop_the_checks(load_text: LoadText) -> None:
    """What the models report is stepped over here."""
    mounts = "mounts: {a: 3, b: {broker: [], scopes: x, port: x, stream_ports: [8]}}\n"
    text = f"listen: 7\n{mounts}clients: {{a: {{b: 3}}, c: 4}}\ngrants: []\n"
    assert all("error" not in problem for problem in _found(load_text, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("store: postgresql://u@db/x\nstore_password_file: a\n", []),
        ("store_password: abc\n", ["store_password: the store is no database, and has no password, remove it"]),
        (
            "store: sqlite:a.db\nstore_password_file: a\n",
            ["store_password_file: the store is no database, and has no password, remove it"],
        ),
        (
            "store: postgresql://u@db/x\nstore_password_file: a\nstore_password: abc\n",
            ["store_password_file: store_password is given too, remove one of the two"],
        ),
    ],
    ids=["file", "no-database", "file-of-no-database", "both"],
)
def test_a_password_belongs_to_a_database(load_text: LoadText, text: str, expected: list[str]) -> None:
    """And it is given once."""
    assert expected == _found(load_text, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tls: {certificate_file: a.crt}",
            ["tls.certificate_file: key_file is missing, which belongs to it, add tls.key_file"],
        ),
        (
            "tls: {key_file: a.key}",
            ["tls.key_file: certificate_file is missing, which belongs to it, add tls.certificate_file"],
        ),
        (
            "tls: {client_ca_file: ca.pem}",
            [
                (
                    "tls.client_ca_file: clients can be asked for a certificate only where this server has one, "
                    "add tls.certificate_file and tls.key_file"
                )
            ],
        ),
        (
            f"{TLS[:-2]}, client_certificate: named}}\nclients: {{nb: {{questrade: []}}}}",
            ["tls.client_certificate: clients are not asked for a certificate, add tls.client_ca_file or remove it"],
        ),
        (
            f"{TLS[:-2]}, client_ca_file: b, client_certificate: named}}\nclients: none",
            [
                (
                    "tls.client_certificate: there are no clients whose name a certificate could hold, "
                    "name the `clients:` that may call, or remove it"
                )
            ],
        ),
        (
            "tls: {certificate_file: a.crt, key_file: a.key}\nplaintext: accepted",
            ["plaintext: nothing is sent in plain text where `tls` has a certificate, remove it"],
        ),
        ("tls: {certificate_file: a.crt, key_file: a.key, client_ca_file: b}", []),
        (
            "tls: {local_ca: true}\nlisten: ['127.0.0.1:1', 'tls:127.0.0.1:2']\nplaintext: accepted",
            ["plaintext: nothing is sent in plain text where `tls` has a certificate, remove it"],
        ),
        ("tls: {local_ca: true, client_ca_file: b}\nlisten: ['unix:/a.sock', 'tls:127.0.0.1:2']", []),
        (
            "tls: {local_ca: true, certificate_file: a, key_file: b}",
            [
                f"tls.{key}: certificates come from a file or from the local authority, not from both, "
                "remove it, or tls.local_ca"
                for key in ("certificate_file", "key_file")
            ],
        ),
        (
            "listen: ['127.0.0.1:1', 'tls:127.0.0.1:2']",
            [
                (
                    "listen.1: there is no certificate for tls:127.0.0.1:2, add tls.certificate_file and tls.key_file, "
                    "or `tls: {local_ca: true}` and run: bearerd tls init"
                )
            ],
        ),
        (
            "tls: {local_ca: false}\nlisten: tls:127.0.0.1:2",
            [
                (
                    "listen: there is no certificate for tls:127.0.0.1:2, add tls.certificate_file and tls.key_file, "
                    "or `tls: {local_ca: true}` and run: bearerd tls init"
                )
            ],
        ),
        (
            "tls: {local_ca: true, client_ca_file: b}\nlisten: ['127.0.0.1:1', 'tls:127.0.0.1:2']",
            [
                (
                    "listen.0: at 127.0.0.1:1 no client would be asked for its certificate, "
                    "write tls:127.0.0.1:1, or remove tls.client_ca_file"
                )
            ],
        ),
        (
            "console: tls:127.0.0.1:8081",
            ["console: `tls:` is for `listen`; beyond this machine the console has TLS anyway, remove it"],
        ),
        ('unix_socket: {mode: "0600"}', []),
        ('unix_socket: {mode: "0660", groups: [trading]}', []),
        ("unix_socket: {mode: 0660, groups: [trading]}", []),
        ('unix_socket: {mode: "0666", users: [1001, alice]}', []),
        (
            'unix_socket: {mode: "0660"}',
            [
                (
                    "unix_socket.mode: mode 0660 lets other users connect, and nobody is named who may, "
                    "name unix_socket.users or unix_socket.groups"
                )
            ],
        ),
    ],
    ids=lambda value: value.replace("\n", " ") if isinstance(value, str) else str(len(value)),
)
def test_what_belongs_together_is_given_together(load_text: LoadText, text: str, expected: list[str]) -> None:
    """Certificate and key; an authority of clients beside them; a mode that lets others in, and who may."""
    assert expected == _found(load_text, f"{Q}{text}\n")


@pytest.mark.parametrize(
    "text",
    [
        "tls: {certificate: a.crt}",
        "tls: a.crt",
        "tls: {certificate_file: a, key_file: b, client_ca_file: c, client_certificate: maybe}",
        'unix_socket: {mode: "0777", groups: [x]}',
        'unix_socket: {groups: ["no such"]}',
        "unix_socket: {users: [true]}",
        "unix_socket: {users: [a, a]}",
    ],
)
def test_values_that_cannot_be_are_refused(load_text: LoadText, text: str) -> None:
    """With the key that is at fault."""
    found = _found(load_text, f"{Q}{text}\n")
    assert len(found) == 1
    assert found[0].startswith(("tls", "unix_socket"))
