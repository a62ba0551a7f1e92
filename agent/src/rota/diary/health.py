"""What a deploy and a monitor ask: is the process up, and can it serve."""

import json
import sys
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse


@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """The database is reachable and has every table this release knows: 200, else 503 with the problem."""
    problem = find_problem()
    answer = {
        "status": "unavailable" if problem else "ok",
        "release": RELEASE,
        "environment": settings.CONFIGURATION.environment,
    }
    if problem:
        answer["problem"] = problem
    return JsonResponse(answer, status=503 if problem else 200, headers={"Cache-Control": "no-store"})


def find_problem() -> str | None:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        connection.close()
        return "the database cannot be reached"
    if missing:
        return f"{len(missing)} migrations are not applied, beginning with {missing[0][0]}"
    return None


def read_release() -> str:
    """Return the id of the release this process runs from, or "" outside one."""
    file = Path(sys.prefix).parent / "RELEASE.json"
    if not file.is_file():
        return ""
    return str(json.loads(file.read_text(encoding="utf-8")).get("id", ""))


# Read once, at the start: later the same path may lead to the release that came after.
RELEASE = read_release()
