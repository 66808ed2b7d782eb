"""Real servers that say how they read a request target: nginx, Apache, HAProxy and Tomcat, as Debian ships them.

Each answers every request with `X-Path`, the path as it would route it, and `X-Query`. Their settings are the most
generous that their manuals have: what they refuse by default they read here.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from proxy.cli.ports import HOST, reserve
from tests.readers import Reading

NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ worker_connections 64; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; large_client_header_buffers 4 32k;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen {host}:{port};
    location / {{ add_header X-Path $uri always; add_header X-Query $args always; return 204; }}
  }}
}}
"""
APACHE = """
ServerRoot {dir}
ServerName broker.test
Listen {host}:{port}
PidFile {dir}/pid
ErrorLog {dir}/error.log
LogLevel emerg
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule rewrite_module {modules}/mod_rewrite.so
StartServers 1
ServerLimit 1
ThreadsPerChild 4
MaxRequestWorkers 4
MinSpareThreads 1
MaxSpareThreads 4
MaxKeepAliveRequests 0
KeepAliveTimeout 600
LimitRequestLine 32768
AllowEncodedSlashes On
HttpProtocolOptions Unsafe
DocumentRoot {dir}
Header always set X-Path "expr=%{{REQUEST_URI}}"
Header always set X-Query "expr=%{{QUERY_STRING}}"
RewriteEngine On
RewriteRule .* - [R=204,L]
"""
HAPROXY = """
global
  expose-experimental-directives
  tune.bufsize 65536
defaults
  mode http
  timeout client 600s
  timeout connect 5s
  timeout server 5s
  option accept-invalid-http-request
frontend all
  bind {host}:{port}
  http-request normalize-uri percent-to-uppercase
  http-request normalize-uri percent-decode-unreserved
  http-request normalize-uri path-strip-dot
  http-request normalize-uri path-strip-dotdot full
  http-request normalize-uri path-merge-slashes
  http-request return status 200 hdr X-Path "%[path,url_dec]" hdr X-Query "%[query]"
"""
TOMCAT_SERVER = """
<Server port="-1"><Service name="Catalina">
<Connector address="{host}" port="{port}" maxKeepAliveRequests="-1" keepAliveTimeout="600000" maxThreads="4"
  maxHttpRequestHeaderSize="65536" encodedSolidusHandling="decode" allowBackslash="true"
  relaxedPathChars="|^`&lt;&gt;&quot;[]{{}}\" relaxedQueryChars="|^`&lt;&gt;&quot;[]{{}}\"/>
<Engine name="Catalina" defaultHost="any"><Host name="any" appBase="none" autoDeploy="false" deployOnStartup="false">
<Context path="" docBase="{dir}/app"><JarScanner scanManifest="false" scanClassPath="false"/></Context></Host></Engine>
</Service></Server>
"""
WEB_XML = """<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">
<servlet><servlet-name>jsp</servlet-name><servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class></servlet>
<servlet><servlet-name>read</servlet-name><jsp-file>/WEB-INF/read.jsp</jsp-file></servlet>
<servlet-mapping><servlet-name>read</servlet-name><url-pattern>/*</url-pattern></servlet-mapping>
</web-app>
"""
READ_JSP = """<%@ page session="false" contentType="text/plain;charset=UTF-8" %><%!
static String spelled(String text) {
  return java.net.URLEncoder.encode(text, java.nio.charset.StandardCharsets.UTF_8);
}
%><%
StringBuilder query = new StringBuilder();
for (java.util.Map.Entry<String, String[]> field : request.getParameterMap().entrySet())
  for (String value : field.getValue())
    query.append('&').append(spelled(field.getKey())).append('=').append(spelled(value));
String more = request.getPathInfo();
response.setHeader("X-Path", spelled(request.getServletPath() + (more == null ? "" : more)));
response.setHeader("X-Query", query.toString());
%>"""
TOMCAT_HOME = Path("/usr/share/tomcat10")


@dataclass
class Oracle:
    """A running server. `encodes`: its `X-Path` comes percent-encoded."""

    name: str
    port: int
    encodes: bool = False

    def read(self, targets: Sequence[bytes]) -> list[Reading | None]:
        """What the server makes of each target; None for one that it refuses."""
        found: list[Reading | None] = []
        while len(found) < len(targets):
            with socket.create_connection((HOST, self.port), timeout=20) as wire:
                before = len(found)
                found += self._talk(wire, targets[before:])
                if len(found) == before:  # closed without a word
                    found.append(None)
        return found

    def _talk(self, wire: socket.socket, targets: Sequence[bytes]) -> Iterator[Reading | None]:
        """Answers up to the first refusal, after which a server may close."""
        answers = wire.makefile("rb")
        for start in range(0, len(targets), 64):
            some = targets[start : start + 64]
            with suppress(ConnectionError):
                wire.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: broker.test\r\n\r\n" % target for target in some))
            for _ in some:
                head = _head(answers)
                if head is None:
                    return
                yield self._reading(head)
                if b"x-path" not in head or head.get(b"connection", b"").lower() == b"close":
                    return

    def _reading(self, head: dict[bytes, bytes]) -> Reading | None:
        if b"x-path" not in head:
            return None
        path = head[b"x-path"].decode("utf-8", errors="replace")
        query = head.get(b"x-query", b"").decode("utf-8", errors="replace")
        fields = tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=10_000))
        return Reading(unquote(path.replace("+", " ")) if self.encodes else path, fields)


def _head(answers: object) -> dict[bytes, bytes] | None:
    """The head of the next answer, its body skipped. None at the end."""
    lines: list[bytes] = []
    try:
        while (line := answers.readline()) not in (b"\r\n", b""):  # type: ignore[attr-defined]
            lines.append(line)
        head = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        answers.read(int(head.get(b"content-length", b"0")))  # type: ignore[attr-defined]
    except ConnectionError:
        return None
    return head if lines else None


@contextmanager
def running(name: str, directory: Path, program: Callable[[str], str]) -> Iterator[Oracle]:
    """The server of that name, its files in `directory`. `program` finds programs, or skips the test."""
    with ExitStack() as stack:
        ports, held = reserve(1)
        stack.enter_context(held)
        command = _COMMANDS[name](directory, ports[0], program)
        log = stack.enter_context((directory / "log").open("wb"))
        process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        stack.callback(process.terminate)
        _wait(process, ports[0], directory / "log")
        yield Oracle(name, ports[0], encodes=name == "tomcat10")


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(errors="replace")
        with suppress(OSError), socket.create_connection((HOST, port), timeout=20):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text(errors="replace"))


def _write(path: Path, text: str, **parts: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(host=HOST, **parts) if parts else text, encoding="utf-8")
    return path


def _nginx(directory: Path, port: int, program: Callable[[str], str]) -> list[str]:
    return [program("nginx"), "-e", "stderr", "-c", str(_write(directory / "conf", NGINX, dir=directory, port=port))]


def _apache(directory: Path, port: int, program: Callable[[str], str]) -> list[str]:
    binary = program("apache2")
    file = _write(directory / "conf", APACHE, dir=directory, port=port, modules="/usr/lib/apache2/modules")
    return [binary, "-X", "-f", str(file)]


def _haproxy(directory: Path, port: int, program: Callable[[str], str]) -> list[str]:
    return [program("haproxy"), "-db", "-q", "-f", str(_write(directory / "conf", HAPROXY, port=port))]


def _tomcat(directory: Path, port: int, program: Callable[[str], str]) -> list[str]:
    java = program("java") if TOMCAT_HOME.exists() else program("tomcat10")
    _write(directory / "conf" / "server.xml", TOMCAT_SERVER, dir=directory, port=port)
    _write(directory / "conf" / "web.xml", WEB_XML)
    _write(directory / "app" / "WEB-INF" / "web.xml", WEB_XML)
    _write(directory / "app" / "WEB-INF" / "read.jsp", READ_JSP)
    (directory / "temp").mkdir()
    jars = ":".join(str(TOMCAT_HOME / "bin" / name) for name in ("bootstrap.jar", "tomcat-juli.jar"))
    # No second compiler, one collector thread: it is up in two seconds of CPU.
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", jars]
    places = [f"-Dcatalina.home={TOMCAT_HOME}", f"-Dcatalina.base={directory}", f"-Djava.io.tmpdir={directory}/temp"]
    return [java, *quick, *places, "org.apache.catalina.startup.Bootstrap", "start"]


_COMMANDS: dict[str, Callable[[Path, int, Callable[[str], str]], list[str]]] = {
    "nginx": _nginx,
    "apache2": _apache,
    "haproxy": _haproxy,
    "tomcat10": _tomcat,
}
NAMES = tuple(_COMMANDS)
LARGE = frozenset({"tomcat10"})  # to install: asked in the long run only
