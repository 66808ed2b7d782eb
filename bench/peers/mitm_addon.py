"""What mitmproxy is asked to do: write the bearer. It runs in mitmproxy's own interpreter."""

import os
from typing import Any

_BEARER = f"Bearer {os.environ.get('BENCH_TOKEN')}"


def request(flow: Any) -> None:
    """Called by mitmproxy for each request."""
    flow.request.headers["Authorization"] = _BEARER
