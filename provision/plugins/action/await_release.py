"""Waits, on the control side, until a host's web server answers that it serves a release."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ASK_AGAIN_SECONDS = 0.5


def trust(certificate: str) -> ssl.SSLContext:
    """Trust in this certificate and nothing else; without one, in the authorities this machine knows."""
    context = ssl.create_default_context(cadata=certificate or None)
    if certificate:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class PinnedConnection(http.client.HTTPSConnection):
    """HTTPS to an address, with the certificate checked for another name: no resolver is asked."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(name, port, context=context, timeout=timeout)
        self._address, self._name, self._trust = address, name, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._trust.wrap_socket(plain, server_hostname=self._name)


def serving(address: str, port: int, name: str, context: ssl.SSLContext) -> tuple[str | None, str]:
    """The release that is ready behind the web server, and what else there is to say."""
    connection = PinnedConnection(address, port, name, context, 10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(4096).decode(errors="replace")
        release = json.loads(text).get("release") if answer.status == 200 else None
        return release, f"{answer.status} {text[:300]}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"
    finally:
        connection.close()


class ActionModule(ActionBase):
    """Arguments: address, name, release, certificate (PEM or empty), port, seconds."""

    _requires_connection = False
    _VALID_ARGS = frozenset(("address", "name", "release", "certificate", "port", "seconds"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask until the release answers; a restart shows no event on this side, so it asks twice a second."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        wanted, seconds = str(arguments["release"]), float(arguments.get("seconds", 60))
        place = (str(arguments["address"]), int(arguments.get("port", 443)), str(arguments["name"]))
        context = trust(str(arguments.get("certificate") or ""))
        deadline = time.monotonic() + seconds
        while True:
            found, said = serving(*place, context)
            if found == wanted:
                return {"changed": False, "msg": f"{place[2]} serves {wanted}"}
            if time.monotonic() > deadline:
                raise AnsibleActionFail(f"{wanted} is not healthy behind https://{place[2]}/readyz: {said}")
            time.sleep(ASK_AGAIN_SECONDS)  # nothing on this side tells when the host is ready
