"""What the reports' pages and their entries in the audit log say in set phrases."""

from django.utils.translation import gettext_noop as _

PHRASES = (
    _("client made"), _("client changed"), _("client deleted"), _("client's key made"), _("client's key removed"),
    _("client's password made"), _("client's password removed"), _("editors changed"),
    _("report made"), _("report changed"), _("report deleted"), _("report restored"),
    _("library made"), _("library changed"), _("library deleted"), _("library restored"),
    _("reports imported"), _("(no such client)"), _("client"), _("task"), _("script"), _("query"), _("people"),
)  # fmt: skip
