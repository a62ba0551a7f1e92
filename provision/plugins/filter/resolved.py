"""A filter that resolves names on the control side: a firewall must load before a host can ask for any name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable

from ansible.errors import AnsibleFilterError


def resolved(names: Iterable[str]) -> list[str]:
    """Every address of every name, without doubles; an address is its own."""
    return list(dict.fromkeys(address for name in names for address in addresses_of(str(name))))


def addresses_of(name: str) -> list[str]:
    """The addresses of one name."""
    try:
        return [str(ipaddress.ip_address(name))]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AnsibleFilterError(
            f"{name} cannot be resolved here: {error}; give its address in ssh_connections"
        ) from error
    return [str(entry[4][0]) for entry in found]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[[Iterable[str]], list[str]]]:
        return {"resolved": resolved}
