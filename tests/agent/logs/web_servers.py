"""Real web servers that write real logs: each answers with a file, or with an error where it is asked for /down."""

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.agent.neighbours import free_port, is_listening, wait_until

NGINX = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log error;
events {{}}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen 127.0.0.1:{port}; root {folder};
        location /down {{ proxy_pass http://127.0.0.1:1; }}
    }}
}}
"""
APACHE = """ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
DocumentRoot {folder}
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
CustomLog {folder}/access.log combined
ErrorLog {folder}/error.log
ProxyPass /down http://127.0.0.1:1/
"""


@dataclass(frozen=True)
class WebServer:
    """A web server on loopback, and where it writes."""

    folder: Path
    port: int

    @property
    def error_log(self) -> Path:
        return self.folder / "error.log"

    @property
    def access_log(self) -> Path:
        return self.folder / "access.log"

    def ask(self, path: str) -> int:
        """The status of the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"User-Agent": "Firefox/128.0"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@contextmanager
def web_server(folder: Path, configuration: str, command: Callable[[Path], Sequence[str]]) -> Iterator[WebServer]:
    folder.mkdir()
    server = WebServer(folder, free_port())
    file = folder / "configuration"
    file.write_text(configuration.format(folder=folder, port=server.port))
    (folder / "index.html").write_text("hello")
    output = (folder / "output").open("wb")
    environment = {"PATH": os.environ["PATH"]}
    with output, subprocess.Popen(command(file), stdout=output, stderr=output, env=environment) as process:
        try:
            wait_until(lambda: is_listening(server.port))
            yield server
        finally:
            process.terminate()


def nginx(folder: Path) -> AbstractContextManager[WebServer]:
    """A real nginx."""
    return web_server(folder, NGINX, lambda file: ["/usr/sbin/nginx", "-c", str(file), "-e", f"{folder}/error.log"])


def apache(folder: Path) -> AbstractContextManager[WebServer]:
    """A real Apache, in one process."""
    return web_server(folder, APACHE, lambda file: ["/usr/sbin/apache2", "-X", "-f", str(file)])
