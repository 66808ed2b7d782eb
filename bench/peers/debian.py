"""nginx and HAProxy, as Debian has them."""

import contextlib
import re
from collections.abc import Iterator

from bench.peers.peer import Peer, Served, Stage
from bench.processes import program, run, running
from bench.upstream import nginx, nginx_frame, nginx_version


@contextlib.contextmanager
def _nginx(stage: Stage) -> Iterator[Served]:
    def command(port: int) -> list[str]:
        text = (
            nginx_frame(stage.home)
            % f"""
upstream broker {{ server 127.0.0.1:{stage.upstream.port}; keepalive 64; keepalive_requests 1000000000; }}
server {{
  listen 127.0.0.1:{port};
  location / {{
    proxy_pass https://broker; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_max_temp_file_size 0;
    proxy_set_header Authorization "Bearer {stage.upstream.token}"; proxy_set_header Host localhost;
    proxy_ssl_verify on; proxy_ssl_trusted_certificate {stage.upstream.ca_file}; proxy_ssl_name localhost;
    proxy_ssl_server_name on;
  }}
}}"""
        )
        return [nginx(), "-e", "stderr", "-p", str(stage.home), "-c", str(stage.write("nginx.conf", text))]

    served = stage.listening("nginx", command)
    with running(served.process):
        yield served


def _haproxy_version() -> str:
    found = re.search(r"version ([\d.]+)", run("haproxy", program("haproxy", "haproxy"), "-v"))
    return found[1] if found else "unknown"


@contextlib.contextmanager
def _haproxy(stage: Stage) -> Iterator[Served]:
    def command(port: int) -> list[str]:
        text = f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend here
  bind 127.0.0.1:{port}
  default_backend broker
backend broker
  http-request set-header Authorization "Bearer {stage.upstream.token}"
  http-request set-header Host localhost
  server broker 127.0.0.1:{stage.upstream.port} ssl verify required ca-file {stage.upstream.ca_file} \
sni str(localhost) verifyhost localhost pool-max-conn 64
"""
        return [program("haproxy", "haproxy"), "-db", "-f", str(stage.write("haproxy.cfg", text))]

    served = stage.listening("haproxy", command)
    with running(served.process):
        yield served


PEERS = (
    Peer("nginx", nginx_version, _nginx, "no access log"),
    Peer("HAProxy", _haproxy_version, _haproxy, "no access log"),
)
