"""The pages of libraries: scripts and queries that every report may import. Editors read them."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rota.core.errors import RotaError
from rota.diary.rights import person_of
from rota.packs.reports.diary import comparing, editing
from rota.packs.reports.diary.editing import ChangedMeanwhile, Library
from rota.packs.reports.diary.keeping import history_of, token_of
from rota.packs.reports.diary.models import Query, Script, ScriptType
from rota.packs.reports.diary.pages import editor
from rota.packs.reports.diary.pages.forms import LibraryForm
from rota.packs.reports.diary.rights import administrators_only, editors_only


@require_safe
@editors_only
def libraries(request: HttpRequest) -> HttpResponse:
    """All of both kinds."""
    shown = {
        "scripts": Script.objects.filter(type=ScriptType.SNIP).order_by("name"),
        "queries": Query.objects.filter(is_library=True).order_by("name"),
    }
    return render(request, "reports/libraries.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def new_library(request: HttpRequest, kind: str) -> HttpResponse:
    row: Library = Script(type=ScriptType.SNIP) if kind == "script" else Query(is_library=True)
    if kind not in ("script", "query"):
        raise Http404
    return save(request, kind, row) if request.method == "POST" else show(request, kind, row, {})


@require_safe
@editors_only
def library(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """One library, and where it is used."""
    row = found(kind, name)
    return show(request, kind, row, {"name": row.name, "body": row.body, "notes": row.notes})


@require_POST
@administrators_only
def save_library(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    return save(request, kind, found(kind, name))


@require_POST
@administrators_only
def delete_library(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """Only while nothing uses it."""
    row = found(kind, name)
    values = {"name": row.name, "body": row.body, "notes": row.notes}
    try:
        editing.delete_library(row, by=person_of(request))
    except RotaError as error:
        return show(request, kind, row, values, problem=str(error), status=409)
    return redirect("reports:libraries")


@require_safe
@editors_only
def library_history(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """How it came to be what it is, newest first."""
    row = found(kind, name)
    shown = {"library": row, "name": row.name, "kind": kind, "changes": comparing.changes_of(history_of(row))}
    return render(request, "reports/history.html", shown)


@require_POST
@administrators_only
def restore_library(request: HttpRequest, kind: str, name: str, number: int) -> HttpResponse:
    row = found(kind, name)
    editing.restore_library(row, get_object_or_404(history_of(row), pk=number), by=person_of(request))
    return redirect("reports:library", kind=kind, name=name)


def found(kind: str, name: str) -> Library:
    """Raises Http404."""
    if kind == "script":
        return get_object_or_404(Script, type=ScriptType.SNIP, name=name)
    if kind == "query":
        return get_object_or_404(Query, is_library=True, name=name)
    raise Http404


def save(request: HttpRequest, kind: str, row: Library) -> HttpResponse:
    """Whatever is wrong, what somebody wrote is in the form again."""
    form = LibraryForm(request.POST)
    if not form.is_valid():
        return show(request, kind, row, request.POST.dict(), form=form)
    said = form.cleaned_data
    token = None if row._state.adding else said["token"]
    try:
        editing.save_library(
            row, name=said["name"], body=said["body"], notes=said["notes"], by=person_of(request), token=token
        )
    except ChangedMeanwhile as error:
        row.refresh_from_db()
        theirs = {"body": row.body, "notes": row.notes}
        return show(request, kind, row, said, problem=str(error), theirs=theirs, status=409)
    except RotaError as error:
        return show(request, kind, row, said, problem=str(error))
    return redirect("reports:library", kind=kind, name=said["name"])


def show(
    request: HttpRequest, kind: str, row: Library, values: dict[str, Any], *, status: int = 200, **more: Any
) -> HttpResponse:
    is_new = row._state.adding
    body, name = str(values.get("body", "")), row.name or "script"
    shown = {
        "kind": kind,
        "library": row,
        "is_new": is_new,
        "values": values,
        "token": "" if is_new else token_of((row,)),
        "remarks": editing.remarks_on_library(name, body) if kind == "script" else [],
        "users": [] if is_new else editing.where_used(row),
        **editor.shown(),
        **more,
    }
    return render(request, "reports/library.html", shown, status=status)
