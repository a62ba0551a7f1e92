"""The addresses of all pages."""

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.contrib.staticfiles.views import serve
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path, re_path
from django.views.decorators.http import require_safe

from rota.diary import health, ingest, listening, login, outbox, packs, views
from rota.diary.api.access import nowhere, without_login
from rota.diary.api.read import api
from rota.diary.pages import (
    account,
    asking,
    audit,
    difference,
    feeds,
    host_tokens,
    live,
    oidc,
    people,
    reviews,
    runs,
    saved,
    tasks,
    tokens,
)


@login_not_required
@require_safe
def static(request: HttpRequest, path: str) -> HttpResponseBase:
    """A file of the package; its address changes with its content, so it may be kept for a year."""
    response = serve(request, path, insecure=True)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


urlpatterns = [
    path("", views.overview, name="overview"),
    path("runs/", runs.runs, name="runs"),
    path("runs.csv", runs.as_csv, name="runs_csv"),
    path("runs.json", runs.as_json, name="runs_json"),
    path("searches/", saved.save, name="save_search"),
    path("searches/<int:number>/remove", saved.remove, name="remove_search"),
    path("runs/<uuid:identifier>/", views.run, name="run"),
    path("runs/<uuid:identifier>/output.txt", views.output_text, name="output_text"),
    path("runs/<uuid:identifier>/difference/", difference.difference, name="difference"),
    path("runs/<uuid:identifier>/review", reviews.review, name="review"),
    path("runs/review", reviews.review_many, name="review_many"),
    path("tasks/", tasks.tasks, name="tasks"),
    path("hosts/", views.hosts, name="hosts"),
    path("hosts/<str:host>/tasks/<str:name>/", tasks.task, name="task"),
    path("hosts/<str:host>/tasks/<str:name>/ask", asking.ask_task, name="ask"),
    path("runs/<uuid:identifier>/ask", asking.ask_again, name="ask_again"),
    path("runs/<uuid:identifier>/live", live.follow, name="live"),
    path("asked/<uuid:identifier>/", asking.asked, name="asked"),
    path("asked/<uuid:identifier>/live", live.asked, name="asked_live"),
    path("releases/", views.releases, name="releases"),
    path("outbox/", outbox.outbox, name="outbox"),
    path("outbox/<uuid:identifier>/", outbox.caught, name="caught"),
    path("login/", login.LoginPage.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("login/oidc/", oidc.start, name="oidc_start"),
    path("login/oidc/back", oidc.back, name="oidc_back"),
    path("metrics", feeds.metrics, name="metrics"),
    path("slots.ics", feeds.slots, name="slots_calendar"),
    path("failures.atom", feeds.failures, name="failures_feed"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/make", tokens.make_one, name="make_token"),
    path("tokens/<int:identifier>/revoke", tokens.revoke, name="revoke_token"),
    path("confirm/", account.confirm, name="confirm"),
    path("invitation/<str:token>/", account.invitation, name="invitation"),
    path("account/", account.account, name="account"),
    path("account/change", account.change_account, name="change_account"),
    path("account/password", account.change_password, name="change_password"),
    path("account/sessions/<str:mark>/end", account.end_own_session, name="end_own_session"),
    path("people/", people.people_list, name="people"),
    path("people/invite", people.invite, name="invite"),
    path("people/<int:number>/", people.one_person, name="person"),
    path("people/<int:number>/link", people.new_link, name="new_link"),
    path("people/<int:number>/role", people.change_role, name="change_role"),
    path("people/<int:number>/deactivate", people.deactivate, name="deactivate"),
    path("people/<int:number>/activate", people.activate, name="activate"),
    path("people/<int:number>/sessions/end", people.end_sessions, name="end_sessions"),
    path("hosts/tokens/<int:number>/revoke", host_tokens.revoke, name="revoke_host_token"),
    path("audit/", audit.audit_page, name="audit"),
    path("api/v1/records", ingest.records, name="records"),
    path("api/v1/listen", listening.listen, name="listen"),
    *packs.api_addresses(),
    path("api/v1/", (without_login(api.urls[0]), *api.urls[1:])),
    re_path(r"^api/[\s\S]*", nowhere, name="nowhere"),
    *packs.addresses(),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("static/<path:path>", static, name="static"),
    *packs.root_addresses(),
]
