"""The shape of an entry of `alerts:`."""

from typing import get_args

import pytest

from proxy.config.alerts import Alert, EventName


def test_events_have_each_their_name_once() -> None:
    """And an entry that names none means all of them."""
    names = get_args(EventName)
    assert len(names) == len(set(names))
    assert Alert.model_validate({"command": ["page"]}).events is None


@pytest.mark.parametrize("command", [[], ["a\0b"], [""], "page"], ids=["empty", "NUL", "no name", "text"])
def test_what_is_no_command(command: object) -> None:
    """Nothing that a shell would have to take apart, and nothing that no program can be given."""
    with pytest.raises(ValueError, match="command"):
        Alert.model_validate({"command": command})


def test_secrets_are_not_shown() -> None:
    """An address may be all that one has to know."""
    shown = repr(Alert.model_validate({"url": "https://a/canary", "secret": "canary"}))
    assert "canary" not in shown
