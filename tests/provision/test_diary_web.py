"""The real nginx with the roles' own configuration before the real diary: its headers, and who is believed."""

import http.client
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.neighbours import free_port, is_accepting, is_listening, open_folder, wait_until
from tests.provision.test_roles import ROOT
from tests.provision.test_templates import rendered

pytestmark = pytest.mark.usefixtures("ansible_plugins")

PERSON = "ada@example.org"
PROXY, STRANGER = "127.0.0.2", "127.0.0.3"
SETTINGS = """
diary:
  hosts: [diary.example.org]
  environment: production
  database: {{engine: sqlite, name: {folder}/diary.sqlite3}}
  trusted_proxies: [unix]
"""
SERVER = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log error;
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    include {folder}/upstream.conf;
    include {folder}/server.conf;
}}
"""


@pytest.fixture(scope="module")
def diary() -> Iterator[Path]:
    """A diary with one person under gunicorn, in the form it has on a host; the folder of its socket."""
    with open_folder("diary") as folder:
        (folder / "diary.yml").write_text(SETTINGS.format(folder=folder))
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "agent/src"), "ROTA_CONFIGURATION": str(folder)}
        manage = [sys.executable, "-m", "rota.diary.manage"]
        subprocess.run([*manage, "migrate", "--verbosity=0"], env=environment, check=True)
        person = [*manage, "createuser", PERSON, "--name=Ada"]
        subprocess.run(person, env=environment, check=True, input=b"a ledger of quiet nights\n", capture_output=True)
        bind = ["--config", "python:rota.diary.gunicorn", "--workers", "1", "--bind", f"unix:{folder}/diary.sock"]
        serve = [sys.executable, "-m", "gunicorn", *bind]
        with subprocess.Popen(serve, env=environment, cwd=folder, stderr=subprocess.DEVNULL) as server:
            try:
                wait_until(lambda: is_accepting(folder / "diary.sock"))
                yield folder
            finally:
                server.terminate()


@contextmanager
def nginx(diary: Path, folder: Path, packages: Path = ROOT / "agent/src", **variables: object) -> Iterator[int]:
    """nginx as the roles `web` and `diary` configure it, but for ports and paths; its port."""
    port = free_port()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    (folder / "upstream.conf").write_text(
        rendered("diary/templates/upstream.conf.j2", **variables).replace("/run/rota/diary.sock", f"{diary}/diary.sock")
    )
    locations = rendered("diary/templates/locations.conf.j2", **variables)
    site_packages = "/opt/rota/current/venv/lib/python3.11/site-packages"
    assert site_packages in locations
    (folder / "locations.conf").write_text(locations.replace(site_packages, str(packages)))
    server = rendered("web/templates/nginx.conf.j2")
    server = re.sub(r"listen (?:\[::\]:)?80 .*", "", server).replace("server_name _;", f"listen unix:{folder}/80.sock;")
    server = server.replace("listen [::]:443 ssl http2 default_server;", "").replace("443", f"127.0.0.1:{port}")
    server = (
        server.replace("/var/log/nginx/", f"{folder}/")
        .replace("/etc/nginx/tls/", f"{folder}/")
        .replace("/etc/nginx/rota.d/*.conf", f"{folder}/locations.conf")
    )
    (folder / "server.conf").write_text(server)
    (folder / "nginx.conf").write_text(SERVER.format(folder=folder))
    program = ["/usr/sbin/nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_listening(port))
            yield port
        finally:
            process.terminate()


Ask = Callable[..., http.client.HTTPResponse]


def asking(port: int) -> Ask:
    def ask(
        path: str = "/", *headers: tuple[str, str], peer: str = STRANGER, cookie: str = ""
    ) -> http.client.HTTPResponse:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=context, source_address=(peer, 0), timeout=30
        )
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", "diary.example.org"), ("Cookie", cookie), *headers):
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response

    return ask


@pytest.fixture(scope="module")
def plain(diary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """nginx before which nobody stands."""
    with nginx(diary, tmp_path_factory.mktemp("plain")) as port:
        yield asking(port)


@pytest.fixture(scope="module")
def proxied(diary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """nginx before which a proxy stands that says who somebody is."""
    with nginx(diary, tmp_path_factory.mktemp("proxied"), diary_trusted_proxies=[PROXY]) as port:
        yield asking(port)


def test_static_files_of_the_diary_and_of_packs_come_compressed_and_nothing_beside_them(
    diary: Path, tmp_path: Path
) -> None:
    files = {"diary/static/diary/diary.css": "a {}", "packs/reports/diary/static/reports/x.js": "let a;"}
    for name, text in (files | {"packs/reports/diary/models.py": "", "diary/settings.py": ""}).items():
        (tmp_path / "rota" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rota" / name).write_text(text * 10)
    with nginx(diary, tmp_path, tmp_path) as port:
        ask = asking(port)
        for path in ("/static/diary/diary.css?v=1", "/static/reports/x.js?v=1"):
            response = ask(path, ("Accept-Encoding", "gzip"))
            assert (response.status, response.headers["Content-Encoding"]) == (200, "gzip"), path
            assert "max-age=315360000" in response.headers["Cache-Control"]
        for path in (
            "/static/reports/../models.py",
            "/static/reports/..%2f..%2fmodels.py",
            "/static/diary/../settings.py",
        ):
            assert ask(path).status != 200, path
        assert ask("/static/absent/x.js").status == 404


FORGED = [
    [("X-Rota-Person", PERSON)],
    [("x-rota-person", PERSON), ("X-Rota-Person", PERSON)],
    [("X_Rota_Person", PERSON)],
    [("X-Rota_Person", PERSON)],
    [("X-Forwarded-User", PERSON)],
    [("X-Forwarded-User", PERSON), ("X-Forwarded-For", PROXY)],
    [("X-Forwarded-User", PERSON), ("X-Real-IP", PROXY), ("Forwarded", f"for={PROXY}")],
    [("Remote-User", PERSON), ("REMOTE_USER", PERSON)],
]


@pytest.mark.parametrize("headers", FORGED, ids=lambda headers: "+".join(name for name, _ in headers))
def test_nobody_is_somebody_by_saying_so(plain: Ask, proxied: Ask, headers: list[tuple[str, str]]) -> None:
    for ask in (plain, proxied):
        response = ask("/", *headers)
        assert (response.status, response.headers["Location"]) == (302, "/login/?next=/")


def test_the_trusted_proxys_own_clients_cannot_say_so_either(proxied: Ask) -> None:
    assert proxied("/", ("X-Rota-Person", PERSON), peer=PROXY).status == 302
    assert proxied("/", ("X_Forwarded_User", PERSON), peer=PROXY).status == 302


def test_the_trusted_proxy_says_who_somebody_is(proxied: Ask) -> None:
    named = ("X-Forwarded-User", PERSON)
    response = proxied("/", named, ("X-Forwarded-For", "198.51.100.7"), peer=PROXY)
    assert response.status == 200
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert proxied("/", named, peer=PROXY, cookie=cookie).status == 200
    assert proxied("/", peer=STRANGER, cookie=cookie).status == 302, "a cookie that left the proxy opens nothing"
    assert proxied("/", ("X-Forwarded-User", "nobody@example.org"), peer=PROXY).status == 302


ONCE = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.mark.parametrize("path", ["/login/", "/", "/runs/"])
def test_every_page_carries_its_protections_once(plain: Ask, path: str) -> None:
    headers = plain(path).headers
    assert {name: headers.get_all(name) for name in ONCE} == {name: [value] for name, value in ONCE.items()}
    assert "no-cache" in headers["Cache-Control"]
    assert len(headers.get_all("Permissions-Policy", [])) == 1
    assert "'unsafe" not in headers["Content-Security-Policy"]
    assert headers["Server"] == "nginx"


def test_cookies_are_for_this_name_alone_and_travel_by_tls_alone(plain: Ask) -> None:
    (cookie,) = plain("/login/").headers.get_all("Set-Cookie", [])
    assert cookie.startswith("__Host-rota-csrf=")
    for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert word in cookie
    assert "Domain" not in cookie


def test_what_is_a_secret_in_an_address_is_in_no_log(plain: Ask, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert plain("/invitation/a-secret-of-somebody/").status == 410
    assert plain("/login/?key=a-secret-of-somebody").status == 200
    referer = ("Referer", "https://diary.example.org/login/?key=a-secret-of-somebody")
    assert plain("/login/", referer, ("User-Agent", "tests")).status == 200
    (log,) = [path.read_text() for path in tmp_path_factory.getbasetemp().glob("plain0/access.log")]
    *_, before, last = log.splitlines()
    assert before.partition("] ")[2].startswith('"GET /login/ HTTP/1.1" 200 ')
    assert last.endswith('"https://diary.example.org/login/" "tests"')
    assert "a-secret-of-somebody" not in log
