# ruff: noqa: E501  a table of sentences

import pytest

from tests.config.conftest import LoadText

MOUNT = "mounts:\n  questrade: {broker: questrade, environment: live, scopes: [read_acc]}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("colour: red\n", "1:1: error: colour: unknown key 'colour', known here: version, listen, console, store, store_password,"),
        ("lisen: x\n", "1:1: error: lisen: unknown key 'lisen', did you mean 'listen'?"),
        ("log: {level: inf}\n", "1:14: error: log.level: is not one of debug, info, warning, error, did you mean 'info'?"),
        ("log: {format: xml}\n", "1:15: error: log.format: is not one of auto, json, console, write one of them"),
        ("version: 0\n", "1:10: error: version: is not 1, write 1"),
        ("plaintext: yes\n", "1:12: error: plaintext: is not accepted, write accepted"),
        ("limits: {body_bytes: '12'}\n", "1:22: error: limits.body_bytes: must be a whole number, not text, write decimal digits without quotes"),
        ("limits: {body_bytes: 1.5}\n", "1:22: error: limits.body_bytes: must be a whole number, not a number, write decimal digits without quotes"),
        ("limits: {body_bytes: true}\n", "1:22: error: limits.body_bytes: must be a whole number, not true or false, write decimal digits without quotes"),
        ("limits: {connections: 0}\n", "1:23: error: limits.connections: is too small, write 1 or more"),
        ("shutdown: {grace: 46}\n", "1:19: error: shutdown.grace: is too large, write 45 or less"),
        ("shutdown: {grace: soon}\n", "1:19: error: shutdown.grace: must be a number, not text, write decimal digits without quotes"),
        ("engine: {loop: uvlop}\n", "1:16: error: engine.loop: is not one of auto, uvloop, asyncio, did you mean 'uvloop'?"),
        ("engine: {express: 1}\n", "1:19: error: engine.express: must be true or false, not a number, write true or false"),
        ("log:\n", "1:5: error: log: has no value, give it one or remove the key"),
        ("log: [a]\n", "1:1: error: log: must be a mapping, not a list, write `key: value` lines below it"),
        ("mounts: questrade\n", "1:9: error: mounts: must be a mapping, not text, write `key: value` lines below it"),
        ("store: 7\n", "1:8: error: store: must be text, not a number, put it in quotes"),
        ("store: [a]\n", "1:1: error: store: must be text, not a list, write one value"),
        ("store: nowhere\n", "1:8: error: store: is no kind of store, write sqlite:PATH"),
        ("mounts: {a: {environment: live, scopes: []}}\n", "1:10: error: mounts.a.broker: is missing, add `broker: …`"),
        ("mounts: {a: {broker: b, environment: live, scopes: x}}\n", "1:52: error: mounts.a.scopes: must be a list, not text, write it in square brackets: [a, b]"),
        ("mounts: {a: {broker: b, environment: live, scopes: ['']}}\n", "1:53: error: mounts.a.scopes.0: is empty, give it a value or remove the key"),
        ("brokers: {My_Broker: {}}\n", "1:11: error: brokers.My_Broker: is no name: a-z, 0-9 and -, at most 63, and no - in front, write 'my-broker'"),
        ("brokers: {'%%': {}}\n", "1:11: error: brokers.%%: is no name: a-z, 0-9 and -, at most 63, and no - in front, choose another"),
        ("clients: all\n", "1:10: error: clients: must be a mapping of client names, or `none`, write `none` or `NAME: {MOUNT: [SCOPE]}`"),
        (MOUNT + "clients: {a: {questrade: read_acc}}\n", "3:26: error: clients.a.questrade: must be a list, not text, write it in square brackets: [a, b]"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_is_put_in_words(load_text: LoadText, text: str, expected: str) -> None:
    """Place, key, what is wrong and what to write; nothing of the validator's own wording."""
    found = [str(problem) for problem in load_text(text).problems]
    assert 1 == len(found)
    assert found[0].startswith(f"config.yaml:{expected}")


def test_a_misspelt_key_is_not_also_missing(load_text: LoadText) -> None:
    """One mistake, one message: `enviroment` is not reported as a missing `environment` too."""
    found = load_text(MOUNT.replace("environment", "enviroment"))
    assert [
        "config.yaml:2:34: error: mounts.questrade.enviroment: unknown key 'enviroment', did you mean 'environment'?"
    ] == [str(problem) for problem in found.problems]
