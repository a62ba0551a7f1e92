"""The addresses of the reports' pages, below `/reports/`."""

from django.urls import path

from rota.packs.reports.diary.pages import files

app_name = "reports"
urlpatterns = [
    path("files/<str:username>/", files.files, name="files"),
    path("files/<str:username>/leave", files.leave, name="leave"),
    path("file/<str:username>/<str:file_name>", files.file, name="file"),
    path("file/<str:username>/<str:file_name>/<str:name>", files.version, name="version"),
]
