"""Who sent the request that is being answered: from which network address, and with which browser."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from django.http import HttpRequest, HttpResponse

KEPT_AGENT = 300


@dataclass(frozen=True, slots=True)
class Visitor:
    address: str
    agent: str


current: ContextVar[Visitor | None] = ContextVar("visitor", default=None)
"""None outside a request: then a command of `rota-diary` does what is done."""


def notice_visitor(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let whatever answers the request know who sent it."""

    def respond(request: HttpRequest) -> HttpResponse:
        agent = request.headers.get("User-Agent", "").replace("\0", "")[:KEPT_AGENT]
        before = current.set(Visitor(client_address(request), agent))
        try:
            return get_response(request)
        finally:
            current.reset(before)

    return respond


def client_address(request: HttpRequest) -> str:
    """Return who asks: over the unix socket what nginx appended last, since the client may have made up the rest."""
    peer = request.META.get("REMOTE_ADDR", "")
    if peer:
        return str(peer)
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip().replace("\0", "")[:64]


def network_of(address: str) -> str:
    """The address, or of IPv6 its network of 64 bits: one customer has all the addresses in it."""
    try:
        read = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(read, IPv6Address):
        return str(read.ipv4_mapped or ip_network((read, 64), strict=False))
    return str(read)
