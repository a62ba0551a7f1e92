"""How Django knows the pages of the reports pack."""

from django.utils.translation import gettext_lazy as _

from rota.diary.packs import PackConfig


class ReportsConfig(PackConfig):
    default = True
    name = "rota.packs.reports.diary"
    label = "reports"
    title = _("Reports")
    entry = ""

    def ready(self) -> None:
        # Imported here because it needs gettext, which needs the apps.
        from rota.diary import phrases
        from rota.packs.reports.diary.said import PHRASES

        phrases.learn(PHRASES)
