"""What every section of the configuration has in common."""

import pytest
from pydantic import ValidationError

from proxy.config.section import Section


class Part(Section):
    """One section."""

    size: int = 1


def test_nothing_unknown_and_nothing_converted() -> None:
    """A key too many, a text for a number, and a change afterwards are refused."""
    for data in ({"sise": 1}, {"size": "1"}):
        with pytest.raises(ValidationError):
            Part.model_validate(data)
    with pytest.raises(ValidationError):
        Part().size = 2  # type: ignore[misc]  # that it cannot be set is the subject
