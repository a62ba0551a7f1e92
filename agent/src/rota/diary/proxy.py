"""Logging in by the word of a proxy that stands before the diary and has asked its people who they are."""

from ipaddress import ip_address, ip_network

from django.conf import settings
from django.contrib.auth.backends import RemoteUserBackend
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.http import HttpRequest

from rota.diary.configuration import UNIX

HEADER = "HTTP_X_ROTA_PERSON"


class ProxyBackend(RemoteUserBackend):
    """A person whom the proxy names by email address; whom the diary does not know it does not let in."""

    create_unknown_user = False


class ProxyLogin(RemoteUserMiddleware):
    """Believe the header X-Rota-Person of those who are trusted with it, and drop it from everybody else."""

    header = HEADER

    def process_request(self, request: HttpRequest) -> None:
        proxies = settings.CONFIGURATION.trusted_proxies
        if not proxies:
            return
        named = request.META.pop(HEADER, "").strip().lower()
        if named and is_trusted(request.META.get("REMOTE_ADDR", ""), proxies):
            request.META[HEADER] = named
        super().process_request(request)


def is_trusted(peer: str, proxies: tuple[str, ...]) -> bool:
    """Whether a request comes from one of these networks; over a unix socket the peer has no address."""
    if not peer:
        return UNIX in proxies
    return any(each != UNIX and ip_address(peer) in ip_network(each) for each in proxies)
