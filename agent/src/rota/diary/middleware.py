"""What every page carries: what browsers may do with it, the reader's language and zone, and where the reader is."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from rota.diary import packs
from rota.diary.models import Person
from rota.diary.people import zone_of

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
UNUSED = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
HEADERS = {
    # Nothing but this site's own files: no inline script, no inline style, no frame, no other site.
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": ", ".join(f"{each}=()" for each in UNUSED),
    "Cross-Origin-Resource-Policy": "same-origin",
    # Nobody else's cache keeps a page, and after logging out the way back asks the diary again.
    "Cache-Control": "private, no-cache",
}

Respond = Callable[[HttpRequest], HttpResponse]


def restrict_browser(get_response: Respond) -> Respond:
    """Tell browsers what no page of the diary needs, so that they refuse it."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return respond


def suit_reader(get_response: Respond) -> Respond:
    """Answer in the language and the time zone of who reads."""

    def respond(request: HttpRequest) -> HttpResponse:
        person = request.user if isinstance(request.user, Person) else None
        language = (person.language if person else "") or translation.get_language_from_request(request)
        with translation.override(language), timezone.override(zone_of(person)):
            response = get_response(request)
        response.headers.setdefault("Content-Language", language)
        if not (person and person.language):
            patch_vary_headers(response, ["Accept-Language"])
        return response

    return respond


def diary_context(request: HttpRequest) -> dict[str, Any]:
    zone = timezone.get_current_timezone_name().removeprefix("Etc/")
    # What is refused before anybody is known has pages too.
    user = getattr(request, "user", None)
    entries = packs.entries(user) if user and user.is_authenticated else ()
    return {"here": settings.CONFIGURATION.environment, "time_zone": zone, "pack_entries": entries}
