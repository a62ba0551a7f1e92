"""How Django knows the diary."""

from django.apps import AppConfig


class DiaryConfig(AppConfig):
    name = "rota.diary"
    label = "diary"
    default_auto_field = "django.db.models.BigAutoField"
