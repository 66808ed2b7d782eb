"""What each grant logs in with."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.brokers import Endpoints
from proxy.config import ConfigInvalid
from proxy.settings import GrantSettings, OAuthApp, read

QUESTRADE = "q: {broker: questrade, environment: live, scopes: [read_acc, read_md]}"
TRADIER = "t: {broker: tradier, environment: live, scopes: [read, market]}"
TRADIER_WS = "w: {broker: tradier, environment: live, api: ws, scopes: [stream], grant: t}"
ALPACA = 'a: {broker: alpaca, environment: paper, scopes: ["account:read", trading]}'
DATA = "d: {broker: alpaca, environment: paper, api: data, scopes: [data], grant: a}"
PARTNER = 'p: {broker: alpaca, environment: sandbox, api: broker, scopes: ["broker:oauth"]}'
APP = "client_id: me, client_secret: canary"


def grants(tmp_path: Path, *mounts: str, grants: str = "") -> Mapping[str, GrantSettings]:
    path = tmp_path / "config.yaml"
    listed = "\n".join(f"  {mount}" for mount in mounts)
    path.write_text(f"version: 1\nmounts:\n{listed}\ngrants: {{{grants}}}\n", encoding="utf-8")
    return read(path, {"HOME": str(tmp_path)}).grants


def problems(tmp_path: Path, *mounts: str, described: str = "") -> list[str]:
    """Each problem as `line: message`."""
    with pytest.raises(ConfigInvalid) as invalid:
        grants(tmp_path, *mounts, grants=described)
    return [f"{each.mark.line if each.mark else '-'}: {each.text}" for each in invalid.value.problems]


def test_a_mount_alone_makes_a_grant_with_the_brokers_first_login(tmp_path: Path) -> None:
    """Questrade's pasted refresh token and Tradier's personal token need nothing in the configuration."""
    found = grants(tmp_path, QUESTRADE, TRADIER)

    assert {"q": "refresh-token", "t": "personal"} == {name: grant.login.name for name, grant in found.items()}
    first = found["q"]
    assert ("q", "questrade", "live", None, None) == (
        first.name,
        first.broker.name,
        first.environment.name,
        first.client_id,
        first.client_secret,
    )
    assert "https://login.questrade.com/oauth2/token" == first.endpoints.token_url
    assert (("read_acc", "read_md"), {}, None) == (first.scopes, first.apps, first.redirect_uri)
    assert Endpoints(login_page="https://dash.tradier.com/settings/api") == found["t"].endpoints


def test_a_grant_asks_for_the_scopes_of_all_its_mounts(tmp_path: Path) -> None:
    """Each once, in their order, as far as the broker gives them names."""
    code = f"t: {{login: code, {APP}}}"
    assert ("read", "market", "stream") == grants(tmp_path, TRADIER, TRADIER_WS, grants=code)["t"].scopes
    connect = f"a: {{login: connect, {APP}}}"
    assert ("trading", "data") == grants(tmp_path, ALPACA, DATA, grants=connect)["a"].scopes
    assert () == grants(tmp_path, PARTNER, grants=f"p: {{{APP}}}")["p"].scopes


def test_the_default_is_the_first_login_that_every_mount_can_use(tmp_path: Path) -> None:
    """Alpaca's Connect serves trading and data, and its client credentials the Broker API."""
    assert "connect" == grants(tmp_path, ALPACA, DATA, grants=f"a: {{{APP}}}")["a"].login.name
    assert "client-credentials" == grants(tmp_path, PARTNER, grants=f"p: {{{APP}}}")["p"].login.name


def test_two_grants_of_one_broker_live_side_by_side(tmp_path: Path) -> None:
    """Each mount has its own, unless it names another's."""
    spouse = "spouse: {broker: questrade, environment: live, scopes: [read_acc]}"
    found = grants(tmp_path, QUESTRADE, spouse, grants="spouse: {login: code, client_id: hers}")
    assert {"q": "refresh-token", "spouse": "code"} == {name: grant.login.name for name, grant in found.items()}
    assert "hers" == found["spouse"].client_id


def test_an_applications_secret_comes_from_a_private_file(tmp_path: Path) -> None:
    """Relative to the configuration; one newline at its end does not count; nothing shows it."""
    file = tmp_path / "app.secret"
    file.write_text("canary\n\n")
    file.chmod(0o600)
    described = (
        "a: {client_id: me, client_secret_file: app.secret, redirect_uri: 'http://127.0.0.1:8081/callback', "
        "apps: {one: {client_secret_file: app.secret, redirect_uri: 'https://x.test/r', scope: general}, "
        "two: {client_secret: canary-2}}}"
    )
    mount = PARTNER.replace("p:", "a:")
    found = grants(tmp_path, mount, grants=described)["a"]
    assert found.client_secret is not None
    assert "canary\n" == found.client_secret.reveal()
    assert "http://127.0.0.1:8081/callback" == found.redirect_uri
    assert {"one": ("canary\n", "https://x.test/r", "general"), "two": ("canary-2", None, None)} == {
        name: (app.client_secret.reveal(), app.redirect_uri, app.scope) for name, app in found.apps.items()
    }
    assert "canary" not in repr(found) + repr(OAuthApp(found.client_secret))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Missing, empty, or open to others: each with its fix, for applications of a partner too."""
    file, described = tmp_path / "app.secret", f"a: {{{APP.partition(',')[0]}, client_secret_file: app.secret}}"
    place = "4: grants.a.client_secret_file:"
    assert [f"{place} the file cannot be read, put the secret into {file}"] == problems(
        tmp_path, ALPACA, described=described
    )
    file.touch(mode=0o600)
    assert [f"{place} the file is empty, put the secret into {file}"] == problems(tmp_path, ALPACA, described=described)
    file.write_bytes(b"\xff")
    assert [f"{place} the file cannot be read, put the secret into {file}"] == problems(
        tmp_path, ALPACA, described=described
    )
    file.chmod(0o644)
    fix = f"the file cannot be used: {file} is open to other users (mode 0644); run: chmod 400 {file}"
    assert [f"{place} {fix}"] == problems(tmp_path, ALPACA, described=described)
    app = f"p: {{{APP}, apps: {{one: {{client_secret_file: app.secret}}}}}}"
    assert [f"4: grants.p.apps.one.client_secret_file: {fix}"] == problems(tmp_path, PARTNER, described=app)


@pytest.mark.parametrize(
    ("mount", "described", "expected"),
    [
        (
            TRADIER,
            "t: {login: cod}",
            "4: grants.t.login: Tradier has no login 'cod', did you mean 'code'?",
        ),
        (
            TRADIER.replace("live", "sandbox"),
            f"t: {{login: code, {APP}}}",
            "4: grants.t.login: Tradier has no login 'code' in its environment 'sandbox', there: personal",
        ),
        (
            TRADIER,
            "t: {login: code}",
            (
                "4: grants.t.client_id: login 'code' needs the client_id of your application, add client_id: … under "
                "grants.t, or choose login: personal"
            ),
        ),
        (
            ALPACA,
            "",
            (
                "3: mounts.a: login 'connect' needs the client_id of your application, add client_id: … under "
                "grants.a, or choose login: keys"
            ),
        ),
        (
            TRADIER,
            "t: {login: code, client_id: me}",
            (
                "4: grants.t.client_secret_file: login 'code' needs the application's secret, add client_secret_file: "
                "PATH under grants.t"
            ),
        ),
        (
            TRADIER,
            f"t: {{{APP}}}",
            "4: grants.t.client_id: login 'personal' uses no application, remove it, or choose login: code",
        ),
        (
            TRADIER,
            "t: {client_secret: canary}",
            "4: grants.t.client_secret: login 'personal' uses no application, remove it, or choose login: code",
        ),
        (
            TRADIER,
            "t: {apps: {x: {client_secret: y}}}",
            "4: grants.t.apps: Tradier has no OAuth for partners, remove it",
        ),
        (
            PARTNER,
            f"p: {{{APP}, apps: {{x: {{}}}}}}",
            "4: grants.p.apps.x: needs the application's secret, add client_secret_file: PATH",
        ),
        (
            PARTNER,
            "p: {login: keys}",
            (
                "3: mounts.p.api: the API 'broker' takes no credential of login 'keys', choose login: "
                "client-credentials or broker-basic"
            ),
        ),
    ],
)
def test_a_grant_that_cannot_log_in_is_named_with_its_line(
    tmp_path: Path, mount: str, described: str, expected: str
) -> None:
    """What the login lacks, or why it does not fit, and what to write."""
    assert [expected] == problems(tmp_path, mount, described=described)


def test_mounts_that_no_login_serves_together_are_told_apart(tmp_path: Path) -> None:
    """Alpaca's Trading and Broker APIs take no credential in common."""
    trading = ALPACA.replace("paper", "live")
    broker = PARTNER.replace("sandbox", "live").replace('"]}', '"], grant: a}')
    assert [
        "3: mounts.a: no login of Alpaca serves every mount of grant 'a', give each mount a grant of its own"
    ] == problems(tmp_path, trading, broker)


def test_a_mount_that_a_shared_login_does_not_serve_gets_one_of_its_own(tmp_path: Path) -> None:
    """The login is named; the mounts that it serves are not."""
    trading = ALPACA.replace("paper", "live")
    broker = PARTNER.replace("sandbox", "live").replace('"]}', '"], grant: a}')
    expected = (
        "4: mounts.p.api: the API 'broker' takes no credential of login 'keys', give it a grant of its own with login: "
        "client-credentials or broker-basic"
    )
    assert [expected] == problems(tmp_path, trading, broker, described="a: {login: keys}")


def test_a_public_application_needs_no_secret(tmp_path: Path) -> None:
    """Questrade's code flow does without, and takes one all the same."""
    found = grants(tmp_path, QUESTRADE, grants="q: {login: code, client_id: me}")["q"]
    assert ("me", None) == (found.client_id, found.client_secret)
