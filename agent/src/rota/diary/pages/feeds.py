"""What people follow with other programs: a feed of failures, and measurements for Prometheus."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.feedgenerator import Atom1Feed
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_safe

from rota.diary.api.access import for_readers
from rota.diary.filters import BadFilter, RunFilter, read_filter
from rota.diary.measurements import measure
from rota.diary.models import Run, Status
from rota.diary.phrases import in_words

NEWEST = 50
FOLLOWED = (Status.FAILED, Status.LOST)


@for_readers
@require_safe
def failures(request: HttpRequest) -> HttpResponse:
    """The newest failures as an Atom feed (RFC 4287), narrowed by the same words as the list of runs."""
    failed = Run.objects.select_related("host").filter(status__in=FOLLOWED)
    try:
        runs = read_filter(RunFilter, request.GET).apply(failed)
    except BadFilter as error:
        return HttpResponse(f"{error}\n", status=400, content_type="text/plain; charset=utf-8")
    here = request.build_absolute_uri(reverse("runs"))
    feed = Atom1Feed(
        title=gettext("Failures in Rota's diary"),
        link=here,
        description=None,
        feed_url=request.build_absolute_uri(),
        language=get_language(),
    )
    for run in runs.order_by("-started", "-id")[:NEWEST]:
        address = request.build_absolute_uri(reverse("run", args=[run.pk]))
        feed.add_item(
            title=f"{run.task} {run.get_status_display()}, {run.host}: {in_words(run.reason)}",
            link=address,
            description=in_words(run.reason),
            unique_id=f"urn:uuid:{run.pk}",
            pubdate=run.started,
            updateddate=run.ended or run.started,
            author_name=run.host.name,
            categories=(run.task, run.environment),
        )
    return HttpResponse(feed.writeString("utf-8"), content_type="application/atom+xml; charset=utf-8")


@for_readers
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Measurements of all hosts' runs, in Prometheus's text format."""
    return HttpResponse(measure(), content_type="text/plain; version=0.0.4; charset=utf-8")
