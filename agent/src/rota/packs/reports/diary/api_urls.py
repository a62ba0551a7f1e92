"""The addresses at which hosts ask of reports and tell of them, below `/api/v1/reports/`."""

from django.urls import path

from rota.packs.reports.diary import api

app_name = "reports_api"
urlpatterns = [
    path("definitions", api.definitions, name="definitions"),
    path("attempts", api.attempts, name="attempts"),
]
