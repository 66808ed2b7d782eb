"""The catalogue of Questrade's faults. What each does is tested where it happens: test_login.py and test_api.py."""

from proxy.simulator.questrade.faults import API, ORDER, REFUSALS, TOKEN, catalogue
from tests.simulator.support import fields

PROMISED = fields(
    """
    token-400-text token-invalid-grant token-500 token-503-html-maintenance token-403 token-429
    token-hang token-slow token-drop-before token-drop-after token-truncated token-empty-200
    token-html-200 token-junk-expires token-no-api-server token-foreign-api-server api-500 api-429
    api-401-1017 api-403-1016 api-hang api-slow api-drop-before-answer api-truncated order-200-error
    user-agent-block maintenance
    """
)


def test_every_promised_fault_exists() -> None:
    """The names are an interface: scripts of users hold them."""
    assert catalogue().catalogue().keys() >= PROMISED


def test_every_fault_says_whether_the_request_was_processed() -> None:
    """Whether the token was spent is the first thing to know of a fault."""
    for name, hits in catalogue().catalogue().items():
        assert "(refused" in hits or hits.endswith("(done)") or name.startswith("stream-")


def test_fixed_answers_belong_to_faults_of_the_catalogue() -> None:
    """No answer waits for a name that nobody can arm."""
    assert catalogue().catalogue().keys() >= REFUSALS.keys()


def test_faults_hit_the_hosts_that_they_name() -> None:
    """`user-agent-block` and `maintenance` hit both hosts, all others one."""
    hit = {}
    for name in catalogue().catalogue():
        hit[name] = ""
        for place in (TOKEN, API, ORDER):
            faults = catalogue()
            faults.add(name)
            hit[name] += f" {place}" if faults.take(place) else ""

    assert {name for name, places in hit.items() if places == " token api"} == {"user-agent-block", "maintenance"}
    assert {name for name, places in hit.items() if places == " order"} == {"order-200-error"}
    assert all(places.strip() == name.split("-")[0] for name, places in hit.items() if name[:3] in ("tok", "api"))
