"""What the reports' pages and their entries in the audit log say in set phrases."""

from django.utils.translation import gettext_noop as _

PHRASES = (
    _("client made"), _("client changed"), _("client deleted"), _("client's key made"), _("client's key removed"),
    _("client's password made"), _("client's password removed"), _("editors changed"),
    _("report made"), _("report changed"), _("report deleted"), _("report restored"),
    _("library made"), _("library changed"), _("library deleted"), _("library restored"),
    _("report run asked for"), _("report trial asked for"), _("report run withdrawn"),
    _("reports' token made"), _("reports' token revoked"),
    _("No report is run by hand at this time"), _("Reports cannot be run from here"), _("The host does not take it"),
    _("There is nothing to run"), _("the report has no script"), _("the host stopped before it was over"),
    _("This report is being made already"), _("%(number)s others wait already"), _("the script %(name)s is empty"),
    _("reports imported"), _("run logs imported"), _("(no such client)"),
    _("client"), _("task"), _("script"), _("query"), _("people"),
)  # fmt: skip
