"""`bearerd help`."""

import json

import pytest

from proxy.cli.topics import OTHERS, TOPICS
from proxy.config.keys import OTHER_VARIABLES
from tests.cli.support import invoke


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_page(topic: str) -> None:
    """Markdown with a heading, on stdout."""
    result = invoke("help", topic)

    assert 0 == result.exit_code
    assert result.stdout.startswith("# ")
    assert result.stdout.endswith("\n")


def test_topics_are_data_too() -> None:
    """With --json the text is a field."""
    assert "scopes" == json.loads(invoke("help", "scopes", "--json").stdout)["topic"]


def test_the_environment_page_names_every_variable() -> None:
    """Those that override a key, those that are special, and secrets with their file."""
    shown = invoke("help", "environment").stdout

    assert [] == sorted(name for name in OTHER_VARIABLES if name not in shown)
    assert [] == [name for name in OTHERS if name not in shown]
    assert "| BEARERD_LOG__LEVEL | log.level |" in shown
    assert "| BEARERD_KEY_SOURCE | key |" in shown


def test_help_of_a_command() -> None:
    """`bearerd help login` is `bearerd login --help`."""
    assert invoke("login", "--help").stdout == invoke("help", "login").stdout


def test_help_alone_lists_the_topics() -> None:
    """The root's help, and the names of the topics."""
    assert "Topics: environment, exit-codes" in invoke("help").stdout


def test_an_unknown_topic_is_a_usage_error() -> None:
    """2, with the topics that there are."""
    result = invoke("help", "weather")

    assert 2 == result.exit_code
    assert "exit-codes" in result.stderr
