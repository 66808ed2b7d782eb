"""The dashboard for Grafana: it can be loaded, and asks for nothing that bearerd does not tell."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.monitored import DEPLOY, faults, grouped, labels, parsed

VARIABLES = {"$__rate_interval": "5m", "$job": "bearerd", "$instance": ".*", "$mount": ".*", "$client": ".*"}
# Of Grafana's panels those that the dashboard uses, with the options that each must have to show something.
KINDS = {
    "stat": {"reduceOptions"},
    "bargauge": {"reduceOptions"},
    "timeseries": {"legend", "tooltip"},
    "state-timeline": {"legend", "tooltip"},
}


@pytest.fixture(name="dashboard", scope="module")
def _dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "bearerd.json").read_text("utf-8"))


def _panels(dashboard: Any) -> list[Any]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _expressions(dashboard: Any) -> Iterator[tuple[str, str, str]]:
    """Where it is asked, what, and how the answer is called, with a value for each variable."""
    targets = ((panel["title"], each) for panel in _panels(dashboard) for each in panel["targets"])
    asked = [(title, each["expr"], each["legendFormat"]) for title, each in targets]
    asked += [(each["name"], each["expr"], each["textFormat"]) for each in dashboard["annotations"]["list"]]
    for where, expression, legend in asked:
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)  # noqa: PLW2901
        yield where, expression, legend


def test_it_is_a_dashboard(dashboard: Any) -> None:
    """The members that Grafana's schema 39 needs, no identifier of an installation, and every panel of a known kind."""
    assert {"uid": "bearerd", "title": "bearerd", "schemaVersion": 39} == {
        name: dashboard[name] for name in ("uid", "title", "schemaVersion")
    }
    assert "id" not in dashboard
    assert set(KINDS) == {panel["type"] for panel in _panels(dashboard)}
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in _panels(dashboard):
        assert panel["options"].keys() >= KINDS[panel["type"]], panel["title"]
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
        assert {"datasource", "expr", "legendFormat", "refId"} <= set.intersection(*map(set, panel["targets"]))
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_no_panel_hides_another(dashboard: Any) -> None:
    """All lie within the 24 columns, and no two of them on each other."""
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
    for title, place in places:
        assert 0 <= place["x"] <= 24 - place["w"], title
    for (one, a), (other, b) in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (one, other)


def test_every_source_is_the_chosen_one(dashboard: Any) -> None:
    """A dashboard that names a data source by its identifier works on one installation only."""
    sources = re.findall(r'"datasource": (\{.*?\}?"\})', json.dumps(dashboard))
    assert {'{"type": "prometheus", "uid": "${datasource}"}'} == set(sources)
    names = [each["name"] for each in dashboard["templating"]["list"]]
    assert ["datasource", "job", "instance", "mount", "client"] == names
    used = set(re.findall(r"\$(\w+)", " ".join(str(each) for each in dashboard["panels"])))
    assert used - {"__rate_interval"} <= set(names)


def test_every_expression_can_be_asked(dashboard: Any, tmp_path: Path) -> None:
    """promtool parses them all, and they name only metrics and labels that a scrape has."""
    found = list(_expressions(dashboard))
    parsed(tmp_path, [expression for _, expression, _ in found])
    wrong = [(where, fault) for where, expression, _ in found for fault in faults(expression)]
    assert [] == wrong


def test_every_line_has_a_name_that_tells_it_apart(dashboard: Any) -> None:
    """A legend has the labels by which its expression is grouped, and no other."""
    for where, expression, legend in _expressions(dashboard):
        named = set(re.findall(r"\{\{(\w+)\}\}", legend))
        assert named == grouped(expression) - {"le"} or not grouped(expression) or where == "Starts", where


def test_every_variable_can_be_filled(dashboard: Any) -> None:
    """The metrics and labels that its choices come from are told."""
    queries = [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    for query in queries:
        found = re.fullmatch(r"label_values\((bearerd_\w+)(?:\{job=\"\$job\"\})?, (\w+)\)", query)
        assert found is not None
        assert found[2] in labels()[found[1]] | {"job", "instance"}


def test_nothing_that_is_told_is_left_out(dashboard: Any) -> None:
    """Every metric has its place on the dashboard, but for two that others say better."""
    asked = " ".join(expression for _, expression, _ in _expressions(dashboard))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in labels()}
    left_out = {name for name in families if name not in asked}
    assert {
        "bearerd_generation",
        "bearerd_grant_state_since_timestamp_seconds",
        "bearerd_grant_usable",
        "bearerd_refresh_token_issued_timestamp_seconds",
    } == left_out


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(bearerd_requests)", "there is no bearerd_requests"),
        ('bearerd_halted{mont="m"}', "bearerd_halted has no label mont"),
        ("sum by (grant) (bearerd_halted)", "nothing has a label grant"),
        ("vector(1)", "it asks for no metric"),
    ],
    ids=["metric", "matcher", "grouping", "none"],
)
def test_a_mistake_would_be_found(expression: str, fault: str) -> None:
    """The check of metrics and labels sees each kind of mistake."""
    assert [fault] == list(faults(expression))
