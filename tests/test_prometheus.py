"""What Prometheus is given: the rules, their unit tests and the example configuration, as promtool sees them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitored import DEPLOY, faults, promtool

DIRECTORY = DEPLOY / "prometheus"
PAGE = DEPLOY.parent / "docs" / "monitoring.md"
RUNBOOK = "https://github.com/bearerd/bearerd/blob/main/docs/monitoring.md#"
# What an operator has to hear of, whatever else there is.
NEEDED = {
    "BearerdLoginNeeded", "BearerdRefreshFailing", "BearerdRefreshTokenHalfLife", "BearerdHalted", "BearerdStoreDown",
    "BearerdAuditFailing", "BearerdBrokerErrors", "BearerdBrokerSlow", "BearerdCertificateExpires",
    "BearerdClientKeyExpires", "BearerdOverloaded", "BearerdWorkerGone", "BearerdDown",
}  # fmt: skip


def _read(name: str) -> Any:
    return yaml.safe_load((DIRECTORY / name).read_text("utf-8"))


@pytest.fixture(name="rules", scope="module")
def _rules() -> dict[str, Any]:
    rules = [rule for group in _read("alerts.yml")["groups"] for rule in group["rules"]]
    found = {rule["alert"]: rule for rule in rules}
    assert len(found) == len(rules)
    return found


def test_the_example_can_be_used() -> None:
    """Prometheus takes the configuration, and finds the rules that it names; the job is the one that rules speak of."""
    assert "30 rules found" in promtool("check", "config", DIRECTORY / "prometheus.yml")
    assert ["bearerd"] == [each["job_name"] for each in _read("prometheus.yml")["scrape_configs"]]


def test_the_rules_do_what_they_are_to_do() -> None:
    """Their unit tests hold: quiet before, during and after what is no trouble, and loud in time."""
    assert "SUCCESS" in promtool("test", "rules", DIRECTORY / "alerts.test.yml")


def test_every_rule_has_unit_tests(rules: dict[str, Any]) -> None:
    """Of each rule, one moment at least at which it speaks up and one at which it is quiet."""
    asked = [case for test in _read("alerts.test.yml")["tests"] for case in test["alert_rule_test"]]
    loud = {case["alertname"] for case in asked if case["exp_alerts"]}
    quiet = {case["alertname"] for case in asked if not case["exp_alerts"]}
    assert (set(rules), set(rules)) == (loud, quiet)


def test_the_unit_tests_can_fail(rules: dict[str, Any], tmp_path: Path) -> None:
    """If no rule ever spoke up, every single one of them would fail its test."""
    text = _read("alerts.yml")
    for group in text["groups"]:
        for rule in group["rules"]:
            rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(text))
    (tmp_path / "alerts.test.yml").write_bytes((DIRECTORY / "alerts.test.yml").read_bytes())
    with pytest.raises(AssertionError) as failed:
        promtool("test", "rules", tmp_path / "alerts.test.yml")
    assert rules.keys() == set(re.findall(r"alertname: *(\w+)", str(failed.value)))


def test_what_has_to_be_heard_of_is(rules: dict[str, Any]) -> None:
    """The troubles that need somebody each have a rule."""
    assert NEEDED <= rules.keys()


def test_every_rule_asks_for_what_is_told(rules: dict[str, Any]) -> None:
    """Metrics and labels of the expressions are those of a scrape, and so are the labels that a summary names."""
    for name, rule in rules.items():
        assert [] == list(faults(rule["expr"])), name
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        groups = re.findall(r"by \(([^)]*)\)", rule["expr"])
        assert all(named <= set(re.findall(r"\w+", group)) for group in groups), name


def test_every_rule_has_a_runbook(rules: dict[str, Any]) -> None:
    """It leads to a heading of the page, below which something is to be read; no heading is left over."""
    sections = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    anchors = {section.partition("\n")[0].lower(): section.partition("\n")[2] for section in sections}
    runbooks = {rule["annotations"]["runbook_url"].removeprefix(RUNBOOK) for rule in rules.values()}
    assert {name.lower() for name in rules} == runbooks
    assert runbooks == {anchor for anchor in anchors if anchor.startswith("bearerd")}
    assert all(len(anchors[anchor].split()) > 8 for anchor in runbooks)
