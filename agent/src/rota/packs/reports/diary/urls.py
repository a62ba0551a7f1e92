"""The addresses of the reports' pages, below `/reports/`."""

from django.urls import path

from rota.packs.reports.diary.pages import asked, clients, files, libraries, reports, tokens

app_name = "reports"
urlpatterns = [
    path("", clients.clients, name="clients"),
    path("clients/new", clients.new_client, name="new_client"),
    path("clients/<str:username>/", clients.client, name="client"),
    path("clients/<str:username>/change", clients.change_client, name="change_client"),
    path("clients/<str:username>/delete", clients.delete_client, name="delete_client"),
    path("clients/<str:username>/key", clients.client_key, name="client_key"),
    path("clients/<str:username>/password", clients.client_password, name="client_password"),
    path("clients/<str:username>/editors", clients.client_editors, name="client_editors"),
    path("clients/<str:username>/new", reports.new_report, name="new_report"),
    path("clients/<str:username>/try", asked.try_new, name="try_new"),
    path("clients/<str:username>/<str:file_name>/", reports.report, name="report"),
    path("clients/<str:username>/<str:file_name>/run", asked.run, name="run"),
    path("clients/<str:username>/<str:file_name>/try", asked.try_report, name="try_report"),
    path("clients/<str:username>/<str:file_name>/delete", reports.delete_report, name="delete_report"),
    path("clients/<str:username>/<str:file_name>/history/", reports.report_history, name="report_history"),
    path(
        "clients/<str:username>/<str:file_name>/history/<int:number>/restore",
        reports.restore_report,
        name="restore_report",
    ),
    path("asked/<uuid:identifier>/", asked.asked, name="asked"),
    path("asked/<uuid:identifier>/live", asked.live, name="asked_live"),
    path("asked/<uuid:identifier>/output", asked.output, name="asked_output"),
    path("asked/<uuid:identifier>/difference/", asked.difference, name="asked_difference"),
    path("asked/<uuid:identifier>/withdraw", asked.withdraw, name="withdraw"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/make", tokens.make_token, name="make_token"),
    path("tokens/<int:number>/revoke", tokens.revoke_token, name="revoke_token"),
    path("libraries/", libraries.libraries, name="libraries"),
    path("libraries/<str:kind>/new", libraries.new_library, name="new_library"),
    path("libraries/<str:kind>/<str:name>/", libraries.library, name="library"),
    path("libraries/<str:kind>/<str:name>/save", libraries.save_library, name="save_library"),
    path("libraries/<str:kind>/<str:name>/delete", libraries.delete_library, name="delete_library"),
    path("libraries/<str:kind>/<str:name>/history/", libraries.library_history, name="library_history"),
    path(
        "libraries/<str:kind>/<str:name>/history/<int:number>/restore",
        libraries.restore_library,
        name="restore_library",
    ),
    path("lint", reports.lint, name="lint"),
    path("files/<str:username>/", files.files, name="files"),
    path("files/<str:username>/leave", files.leave, name="leave"),
    path("file/<str:username>/<str:file_name>", files.file, name="file"),
    path("file/<str:username>/<str:file_name>/<str:name>", files.version, name="version"),
]
