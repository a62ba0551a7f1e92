"""Addresses of the system that this pack replaces, at the root, for the programs that know them."""

from django.urls import path

from rota.packs.reports.diary.pages import programs

app_name = "reports_root"
urlpatterns = [
    path("runtask/<str:identifier>", programs.run_task, name="run_task"),
    path("dryruntask/<str:identifier>", programs.dry_run_task, name="dry_run_task"),
]
