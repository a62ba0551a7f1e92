"""The tables of the reports pack; names of tables and columns are those of the system that it replaces.

What is ours besides: how a report is checked, kept and limited, what a run log says more, editors, and the history.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from rota.diary.models import Person
from rota.packs.reports import attempt
from rota.packs.reports import definitions as values


def new_id() -> str:
    return str(uuid.uuid4())


class Frequency(models.TextChoices):
    DAILY = values.Frequency.DAILY, _("daily")
    WEEKLY = values.Frequency.WEEKLY, _("weekly")
    MONTHLY = values.Frequency.MONTHLY, _("monthly")
    YEARLY = values.Frequency.YEARLY, _("yearly")


class MonthEnd(models.TextChoices):
    SKIP = values.MonthEnd.SKIP, _("leave out months without that day")
    CLIP = values.MonthEnd.CLIP, _("take the month's last day instead")


class ScriptType(models.TextChoices):
    MAIN = values.ScriptType.MAIN, _("of a report")
    SNIP = values.ScriptType.SNIP, _("library")


class Check(models.TextChoices):
    XML = values.Check.XML, _("well-formed XML")
    JSON = values.Check.JSON, _("well-formed JSON")
    CSV = values.Check.CSV, _("CSV with a header")
    NOT_EMPTY = values.Check.NOT_EMPTY, _("not empty")


class Trigger(models.TextChoices):
    SCHEDULE = attempt.Trigger.SCHEDULE, _("schedule")
    RUN_NOW = attempt.Trigger.RUN_NOW, _("by hand")


class Outcome(models.TextChoices):
    PUBLISHED = attempt.Outcome.PUBLISHED, _("published")
    FAILED = attempt.Outcome.FAILED, _("failed")
    REFUSED = attempt.Outcome.REFUSED, _("refused")


class Edited(models.Model):
    """When somebody last changed it, and who: an email address, or "" where it was a command."""

    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.CharField(max_length=254, null=True, blank=True)  # noqa: DJ001  as in the original

    class Meta:
        abstract = True


class Client(Edited):
    """Somebody reports are made for. `password` and `access_key` are hashes; the key's is SHA-256 in hexadecimal."""

    id = models.CharField(max_length=36, primary_key=True, default=new_id)
    name = models.CharField(max_length=255)
    username = models.CharField(max_length=45, unique=True)
    password = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  as in the original
    is_editable = models.BooleanField(default=False)
    notes = models.TextField(blank=True, default="")
    access_key = models.CharField(max_length=64, null=True, blank=True, unique=True)  # noqa: DJ001 - many have none
    # ours
    editors = models.ManyToManyField(Person, related_name="report_clients", db_table="reports_editor")

    class Meta:
        db_table = "reports_homedir"

    def __str__(self) -> str:
        return self.name


class Query(Edited):
    """SQL: a report's own, or a library."""

    id = models.CharField(max_length=36, primary_key=True, default=new_id)
    name = models.CharField(max_length=255, unique=True)
    body = models.TextField(blank=True, default="")
    params = models.TextField(blank=True, default="")
    notes = models.TextField(blank=True, default="")
    is_library = models.BooleanField(default=False)

    class Meta:
        db_table = "reports_query"

    def __str__(self) -> str:
        return self.name


class Script(Edited):
    """Python: a report's own, or a library."""

    id = models.CharField(max_length=36, primary_key=True, default=new_id)
    query = models.ForeignKey(Query, on_delete=models.SET_NULL, null=True, db_column="id_query", related_name="scripts")
    name = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=4, choices=ScriptType.choices, default=ScriptType.MAIN)
    body = models.TextField(blank=True, default="")
    params = models.TextField(blank=True, default="")
    notes = models.TextField(blank=True, default="")

    class Meta:
        db_table = "reports_script"

    def __str__(self) -> str:
        return self.name


class Task(Edited):
    """One report: a file that is made for a client."""

    id = models.CharField(max_length=36, primary_key=True, default=new_id)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_column="id_homedir", related_name="tasks")
    script = models.ForeignKey(
        Script, on_delete=models.SET_NULL, null=True, db_column="id_script", related_name="tasks"
    )
    file_name = models.CharField(max_length=100)
    extension = models.CharField(max_length=32)
    description = models.TextField(blank=True, default="")
    start_date = models.DateField()
    frequency = models.CharField(max_length=1, choices=Frequency.choices, default=Frequency.MONTHLY)
    is_active = models.BooleanField(default=False)
    is_public = models.BooleanField(default=False)
    notes = models.TextField(blank=True, default="")
    # ours
    month_end = models.CharField(max_length=4, choices=MonthEnd.choices, default=MonthEnd.SKIP)
    catch_up = models.BooleanField(default=False)
    checks = models.JSONField(default=list, blank=True)
    shrink_percent = models.PositiveIntegerField(null=True, blank=True)
    keep = models.PositiveIntegerField(default=3)
    timeout = models.PositiveIntegerField(default=0)
    memory = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "reports_task"
        constraints: ClassVar = [models.UniqueConstraint(fields=["client", "file_name"], name="reports_file_name")]

    def __str__(self) -> str:
        return f"{self.client.username}/{self.file_name}"


class RunLog(models.Model):
    """One attempt to make a report that was no dry run; `date` is when it ended."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, db_column="id_task", related_name="log", db_index=False)
    date = models.DateTimeField()
    is_success = models.BooleanField()
    message = models.TextField(blank=True, default="")
    # ours
    attempt = models.UUIDField(unique=True, null=True)
    started = models.DateTimeField(null=True)
    duration = models.FloatField(null=True)
    bytes = models.BigIntegerField(null=True)
    rows = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    trigger = models.CharField(max_length=20, choices=Trigger.choices, blank=True, default="")
    planned = models.DateField(null=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True, default="")
    host = models.CharField(max_length=63, blank=True, default="")
    run = models.UUIDField(null=True)

    class Meta:
        db_table = "reports_runlog"
        indexes: ClassVar = [
            models.Index(fields=["task", "-date", "-id"], name="reports_log_of_task"),
            models.Index(fields=["task", "-date", "-id"], condition=models.Q(is_success=True), name="reports_log_good"),
        ]

    def __str__(self) -> str:
        return f"{self.task} at {self.date.isoformat()}"


class ApiToken(models.Model):
    """With what a program asks for runs: of one client's reports, or of all. Only the SHA-256 of it is kept."""

    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, related_name="tokens")
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True)
    revoked = models.DateTimeField(null=True)

    class Meta:
        db_table = "reports_token"

    def __str__(self) -> str:
        return self.name


class Asked(models.Model):
    """A run that a person or a program asked for; what came of it lies on the host, by the same id.

    `task` is None of a report that was tried before it was saved, or is deleted; `opened` is what its form was opened
    with, for who goes on writing.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="+")
    task = models.ForeignKey(Task, on_delete=models.SET_NULL, null=True, related_name="asked")
    file_name = models.CharField(max_length=100)
    is_dry_run = models.BooleanField()
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    token = models.ForeignKey(ApiToken, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(db_index=True)
    withdrawn = models.DateTimeField(null=True)
    opened = models.CharField(max_length=100, blank=True, default="")

    class Meta:
        db_table = "reports_asked"

    def __str__(self) -> str:
        return f"{self.client.username}/{self.file_name}"


class History(models.Model):
    """What a client, report, script or query was from this moment on, and who made it so; without any secret."""

    what = models.CharField(max_length=10)
    row = models.CharField(max_length=36)
    value = models.JSONField()
    who = models.CharField(max_length=254, blank=True)
    at = models.DateTimeField()

    class Meta:
        db_table = "reports_history"
        indexes: ClassVar = [models.Index(fields=["what", "row", "-id"], name="reports_history_of")]

    def __str__(self) -> str:
        return f"{self.what} {self.row} at {self.at.isoformat()}"
