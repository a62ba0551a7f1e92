"""How Django knows the diary."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in, user_logged_out


class DiaryConfig(AppConfig):
    name = "rota.diary"
    label = "diary"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Imported here because it needs the models.
        from rota.diary import login, oidc  # noqa: F401  oidc registers a check

        user_logged_in.connect(login.begin_session, dispatch_uid="begin_session")
        user_logged_out.connect(login.note_logout, dispatch_uid="note_logout")
