"""The section `tracing:`: where spans of calls go."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from proxy.config.address import Wrong
from proxy.config.section import File, Section

_FORM = "write http://127.0.0.1:4318/v1/traces, or https://HOST/PATH"


def _endpoint(text: str) -> str:
    # Printable ASCII without `#`, `?`, `@` and backslash: no user, no query, and one reading only.
    found = re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/[!\"$-+\--;=A-Z\[\]^-~]*)?", text, re.ASCII)
    try:
        url = urlsplit(text)
        sound = found is not None and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise Wrong("is no address of a collector", _FORM)
    return text


def _service(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text, re.ASCII):
        raise Wrong("is no name of a service", "write 1 to 64 letters, digits, `_`, `.` or `-`")
    return text


class Tracing(Section):
    """Spans of calls for an OpenTelemetry collector, over OTLP/HTTP. Needs `pip install 'bearerd[otel]'`."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        None, description="The whole address that takes traces: http://127.0.0.1:4318/v1/traces. Default: no tracing."
    )
    sample: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False,
        description="The part of calls that is traced, of those without a `traceparent`, which decides for itself.",
    )  # fmt: skip
    headers_file: File | None = Field(
        None, description="A file (mode 0600) with a `NAME: VALUE` a line, which the collector asks for."
    )
    ca_file: File | None = Field(None, description="PEM: who signs the collector's certificate, if it is your own.")
    service: Annotated[str, AfterValidator(_service)] = Field(
        "bearerd", description="What this server is called there (service.name)."
    )
