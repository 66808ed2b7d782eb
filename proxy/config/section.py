"""What every section of the configuration has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the file: unknown keys and wrong types are refused, nothing can be changed later."""

    # Built on first use: only the whole is, so that a section alone would be built for nothing at start.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True)
