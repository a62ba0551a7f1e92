"""How Django knows the pages of the reports pack."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from rota.diary.packs import PackConfig

if TYPE_CHECKING:  # models cannot be imported yet
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models.expressions import Combinable


class ReportsConfig(PackConfig):
    default = True
    name = "rota.packs.reports.diary"
    label = "reports"
    title = _("Reports")
    entry = "reports:clients"

    def ready(self) -> None:
        # Imported here because it needs gettext, which needs the apps.
        from rota.diary import phrases
        from rota.packs.reports.diary.options import options
        from rota.packs.reports.diary.said import PHRASES

        phrases.learn(PHRASES)
        options()  # so that what is wrong is said at the start

    def of_people(self) -> "dict[str, Combinable]":
        # Imported here because it needs the models.
        from rota.packs.reports.diary.rights import is_editor

        return {"is_editor": is_editor()}

    def is_for(self, person: "AbstractBaseUser | AnonymousUser") -> bool:
        # Imported here because it needs the models.
        from rota.packs.reports.diary.rights import may_enter

        return may_enter(person)
