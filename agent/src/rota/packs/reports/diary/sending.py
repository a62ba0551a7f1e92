"""A file on its way to a client: nginx sends it on a host, Django in the embedded form; whole, or a range of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, parse_etags, quote_etag

from rota.diary.configuration import Form
from rota.packs.reports.diary import places
from rota.packs.reports.mime import content_type

INTERNAL = "/reports-exports/"
"""The location that nginx sends exports from, and only where the diary says so."""
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
BLOCK = 64 * 1024
# What a script wrote is no page of the diary: it may run nothing, and reach nothing, in the diary's name.
POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}


def send(request: HttpRequest, path: Path, *, name: str, sha256: str) -> HttpResponseBase:
    """The response to GET or HEAD with this file, which is there. Raises FileNotFoundError if it is no more."""
    response = by_nginx(path) if settings.CONFIGURATION.form is Form.HOST else by_django(request, path, sha256)
    if response.status_code != 416:
        response.headers["Content-Type"] = content_type(name)
    if disposition := content_disposition_header("download" in request.GET, name):
        response.headers["Content-Disposition"] = disposition
    for header, value in HEADERS.items():
        response.headers[header] = value
    return response


def by_nginx(path: Path) -> HttpResponse:
    """An answer without a body: nginx puts the file there, with ETag, ranges and length."""
    response = HttpResponse()
    response.headers["X-Accel-Redirect"] = INTERNAL + path.relative_to(places.exports()).as_posix()
    return response


def by_django(request: HttpRequest, path: Path, sha256: str) -> HttpResponseBase:
    tag = quote_etag(sha256)
    if tag in parse_etags(request.headers.get("If-None-Match", "")):
        return with_tag(HttpResponse(status=304), tag)
    file = path.open("rb")
    size = file.seek(0, 2)
    wanted = range_of(request, size, tag)
    if wanted is None:
        file.seek(0)
        response: HttpResponseBase = answer(request, file, 0, size)
    elif not wanted:
        file.close()
        response = HttpResponse(status=416)
        response.headers["Content-Range"] = f"bytes */{size}"
    else:
        response = answer(request, file, wanted.start, len(wanted))
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    return with_tag(response, tag)


def answer(request: HttpRequest, file: BinaryIO, start: int, length: int) -> HttpResponseBase:
    if request.method == "HEAD":
        file.close()
        response: HttpResponseBase = HttpResponse()
    else:
        file.seek(start)
        response = StreamingHttpResponse(blocks(file, length))
    response.headers["Content-Length"] = str(length)
    return response


def blocks(file: BinaryIO, length: int) -> Iterator[bytes]:
    with file:
        while length > 0 and (block := file.read(min(BLOCK, length))):
            length -= len(block)
            yield block


def with_tag(response: HttpResponseBase, tag: str) -> HttpResponseBase:
    response.headers["ETag"] = tag
    response.headers["Accept-Ranges"] = "bytes"
    return response


def range_of(request: HttpRequest, size: int, tag: str) -> range | None:
    """The bytes that are asked for: None where it is all of them, empty where there are none of these.

    Of several ranges none is understood, as RFC 9110 section 14.2 allows; nor of a file that is another than If-Range.
    """
    match = RANGE.fullmatch(request.headers.get("Range", "").strip())
    if match is None or not any(match.groups()) or request.headers.get("If-Range", tag) != tag:
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size) if int(last) else range(0)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < int(first):
        return None
    return range(int(first), end + 1)
