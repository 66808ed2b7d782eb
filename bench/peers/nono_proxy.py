"""nono-py as a program. Arguments: port, address of the broker, file of the authority, file for the client's key.

It runs in the benchmark's virtual environment. The bearer is in $BENCH_TOKEN.
"""

import sys
import time
from pathlib import Path


def main(port: int, upstream: str, ca_file: str, key: Path) -> None:
    """Serve until a signal comes."""
    import nono_py  # type: ignore[import-not-found]  # only there is it installed

    route = nono_py.RouteConfig(
        prefix="broker",
        upstream=upstream,
        credential_key="env://BENCH_TOKEN",
        credential_format="Bearer {}",
        tls_ca=ca_file,
    )
    handle = nono_py.start_proxy(nono_py.ProxyConfig(routes=[route], bind_port=port, allowed_hosts=["127.0.0.1"]))
    print(handle.diagnostics(), handle.credential_env_vars(), handle.env_vars(), flush=True)
    draft = key.with_suffix(".draft")
    draft.write_text(handle.env_vars()["NONO_PROXY_TOKEN"], "utf-8")
    draft.rename(key)
    while True:
        handle.drain_audit_events()
        time.sleep(1)


main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
