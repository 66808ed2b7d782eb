"""Envoy, with an access log in JSON."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from bench.peers.installed import program
from bench.peers.peer import Served, Stage
from bench.processes import running


@contextlib.contextmanager
def serve(stage: Stage) -> Iterator[Served]:
    """With one worker."""

    def command(port: int) -> list[str]:
        file = stage.write("envoy.json", json.dumps(_document(stage, port)))
        return [
            program("envoy"), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
        ]  # fmt: skip

    served = stage.listening("envoy", command)
    with running(served.process):
        yield served


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _typed(name: str, **fields: Any) -> dict[str, Any]:
    """A part of Envoy's configuration that says of which type it is."""
    return {"@type": f"type.googleapis.com/envoy.{name}", **fields}


def _document(stage: Stage, port: int) -> dict[str, Any]:
    """One listener, one cluster, and a log in JSON with what bearerd's record says of a call."""
    bearer = {"header": {"key": "Authorization", "value": f"Bearer {stage.upstream.token}"}}
    route = {
        "name": "all", "domains": ["*"],
        "request_headers_to_add": [bearer | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "broker", "host_rewrite_literal": "localhost"}}],
    }  # fmt: skip
    fields = {
        "time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%",
        "id": "%REQ(X-REQUEST-ID)%", "ms": "%DURATION%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
        "upstream": "%UPSTREAM_HOST%", "client": "%DOWNSTREAM_REMOTE_ADDRESS%", "flags": "%RESPONSE_FLAGS%",
    }  # fmt: skip
    log = _typed(
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=str(stage.home / "access.log"),
        log_format={"json_format": fields},
    )
    router = {"name": "router", "typed_config": _typed("extensions.filters.http.router.v3.Router")}
    manager = _typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [route]},
        http_filters=[router],
        access_log=[{"name": "file", "typed_config": log}],
    )
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "here", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(stage)]}}


def _cluster(stage: Stage) -> dict[str, Any]:
    names = [{"san_type": "DNS", "matcher": {"exact": "localhost"}}]
    trust = {"trusted_ca": {"filename": str(stage.upstream.ca_file)}, "match_typed_subject_alt_names": names}
    tls = _typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni="localhost",
        common_tls_context={"validation_context": trust},
    )
    endpoint = {"endpoint": {"address": _address(stage.upstream.port)}}
    return {
        "name": "broker", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "broker", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {"name": "tls", "typed_config": tls},
    }  # fmt: skip
