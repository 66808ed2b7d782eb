"""What sections of the configuration have in common, and kinds of values that stand in several of them."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema

from proxy.config import places
from proxy.config.address import Wrong
from proxy.secret import Secret


class Section(BaseModel):
    """A mapping of the file: unknown keys and wrong types are refused, nothing can be changed later."""

    # Built on first use: only the whole is, so that a section alone would be built for nothing at start.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True)


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or not value:
        raise Wrong("must be text", "put it in quotes")
    return Secret(value)


def unique(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values of a list, none of them twice."""
    twice = min((value for value, times in Counter(values).items() if times > 1), default=None)
    if twice is not None:
        raise Wrong(f"holds '{twice}' twice", "remove one of the two")
    return values


def text_schema(**more: Any) -> WithJsonSchema:
    """For the JSON Schema: it is written as text."""
    return WithJsonSchema({"type": "string"} | more)


Text = Annotated[str, StringConstraints(min_length=1)]
File = Annotated[Path, BeforeValidator(places.path), text_schema()]
SecretText = Annotated[Secret | None, PlainValidator(_secret), text_schema()]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
