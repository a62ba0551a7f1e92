"""Asking a host by its canonical name for the release that it serves."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.authority import Issued, issue
from tests.provision.test_converge import loaded
from tests.provision.test_roles import ROOT


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"release": "one"}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture(scope="module")
def asking() -> ModuleType:
    return loaded(ROOT / "provision/plugins/action/await_release.py")


@pytest.fixture
def issued() -> Issued:
    """What an authority signed for the name that visitors know, and for no host's own."""
    return issue("diary.example.org")


@pytest.fixture
def port(issued: Issued, tmp_path: Path) -> Iterator[int]:
    """A web server that shows it."""
    (tmp_path / "chain.pem").write_text(issued.chain)
    (tmp_path / "key.pem").write_text(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_release_is_seen_behind_a_certificate_that_an_authority_signed(
    asking: ModuleType, issued: Issued, port: int
) -> None:
    for pinned in (issued.chain, issued.leaf):
        assert asking.serving("127.0.0.1", port, "diary.example.org", asking.trust(pinned))[0] == "one"


def test_another_name_or_another_certificate_is_refused(asking: ModuleType, issued: Issued, port: int) -> None:
    found, said = asking.serving("127.0.0.1", port, "production", asking.trust(issued.chain))
    assert (found, "mismatch" in said) == (None, True)
    found, said = asking.serving("127.0.0.1", port, "diary.example.org", asking.trust(issue("diary.example.org").chain))
    assert (found, "verify failed" in said) == (None, True)
