"""The hosts' tokens: how old each is, when it was last used; and revoking one at once."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from rota.diary import audit
from rota.diary.models import Token
from rota.diary.rights import administrators_only, freshly_proven, person_of


@require_POST
@administrators_only
@freshly_proven
def revoke(request: HttpRequest, number: int) -> HttpResponse:
    """Let this token open nothing any more, also where the configuration still names it."""
    by = person_of(request)
    with transaction.atomic():
        token = get_object_or_404(Token.objects.select_for_update().select_related("host"), pk=number)
        if token.revoked is None or token.revoked_by_id is None:
            Token.objects.filter(pk=token.pk).update(revoked=token.revoked or timezone.now(), revoked_by=by)
            audit.note(by, "token revoked", token.host, {"token": token.pk})
    return redirect("hosts")
