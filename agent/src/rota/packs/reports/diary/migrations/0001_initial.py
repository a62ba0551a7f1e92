"""Clients, tasks, scripts, queries, run log; editors and history."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import rota.packs.reports.diary.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Query",
            fields=[
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("updated_by", models.CharField(blank=True, max_length=254, null=True)),
                (
                    "id",
                    models.CharField(
                        default=rota.packs.reports.diary.models.new_id, max_length=36, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=255, unique=True)),
                ("body", models.TextField(blank=True, default="")),
                ("params", models.TextField(blank=True, default="")),
                ("notes", models.TextField(blank=True, default="")),
                ("is_library", models.BooleanField(default=False)),
            ],
            options={
                "db_table": "reports_query",
            },
        ),
        migrations.CreateModel(
            name="Client",
            fields=[
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("updated_by", models.CharField(blank=True, max_length=254, null=True)),
                (
                    "id",
                    models.CharField(
                        default=rota.packs.reports.diary.models.new_id, max_length=36, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                ("username", models.CharField(max_length=45, unique=True)),
                ("password", models.CharField(blank=True, max_length=255, null=True)),
                ("is_editable", models.BooleanField(default=False)),
                ("notes", models.TextField(blank=True, default="")),
                ("access_key", models.CharField(blank=True, max_length=64, null=True, unique=True)),
                (
                    "editors",
                    models.ManyToManyField(
                        db_table="reports_editor", related_name="report_clients", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "reports_homedir",
            },
        ),
        migrations.CreateModel(
            name="History",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("what", models.CharField(max_length=10)),
                ("row", models.CharField(max_length=36)),
                ("value", models.JSONField()),
                ("who", models.CharField(blank=True, max_length=254)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "reports_history",
                "indexes": [models.Index(fields=["what", "row", "-id"], name="reports_history_of")],
            },
        ),
        migrations.CreateModel(
            name="Script",
            fields=[
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("updated_by", models.CharField(blank=True, max_length=254, null=True)),
                (
                    "id",
                    models.CharField(
                        default=rota.packs.reports.diary.models.new_id, max_length=36, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=255, unique=True)),
                (
                    "type",
                    models.CharField(
                        choices=[("MAIN", "of a report"), ("SNIP", "library")], default="MAIN", max_length=4
                    ),
                ),
                ("body", models.TextField(blank=True, default="")),
                ("params", models.TextField(blank=True, default="")),
                ("notes", models.TextField(blank=True, default="")),
                (
                    "query",
                    models.ForeignKey(
                        db_column="id_query",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="scripts",
                        to="reports.query",
                    ),
                ),
            ],
            options={
                "db_table": "reports_script",
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("updated_by", models.CharField(blank=True, max_length=254, null=True)),
                (
                    "id",
                    models.CharField(
                        default=rota.packs.reports.diary.models.new_id, max_length=36, primary_key=True, serialize=False
                    ),
                ),
                ("file_name", models.CharField(max_length=100)),
                ("extension", models.CharField(max_length=32)),
                ("description", models.TextField(blank=True, default="")),
                ("start_date", models.DateField()),
                (
                    "frequency",
                    models.CharField(
                        choices=[("D", "daily"), ("W", "weekly"), ("M", "monthly"), ("Y", "yearly")],
                        default="M",
                        max_length=1,
                    ),
                ),
                ("is_active", models.BooleanField(default=False)),
                ("is_public", models.BooleanField(default=False)),
                ("notes", models.TextField(blank=True, default="")),
                (
                    "month_end",
                    models.CharField(
                        choices=[
                            ("skip", "leave out months without that day"),
                            ("clip", "take the month's last day instead"),
                        ],
                        default="skip",
                        max_length=4,
                    ),
                ),
                ("catch_up", models.BooleanField(default=False)),
                ("checks", models.JSONField(blank=True, default=list)),
                ("shrink_percent", models.PositiveIntegerField(blank=True, null=True)),
                ("keep", models.PositiveIntegerField(default=3)),
                ("timeout", models.PositiveIntegerField(default=0)),
                ("memory", models.PositiveIntegerField(default=0)),
                (
                    "client",
                    models.ForeignKey(
                        db_column="id_homedir",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="reports.client",
                    ),
                ),
                (
                    "script",
                    models.ForeignKey(
                        db_column="id_script",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="tasks",
                        to="reports.script",
                    ),
                ),
            ],
            options={
                "db_table": "reports_task",
            },
        ),
        migrations.CreateModel(
            name="RunLog",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("date", models.DateTimeField()),
                ("is_success", models.BooleanField()),
                ("message", models.TextField(blank=True, default="")),
                ("attempt", models.UUIDField(null=True, unique=True)),
                ("started", models.DateTimeField(null=True)),
                ("duration", models.FloatField(null=True)),
                ("bytes", models.BigIntegerField(null=True)),
                ("rows", models.BigIntegerField(null=True)),
                ("sha256", models.CharField(blank=True, default="", max_length=64)),
                (
                    "trigger",
                    models.CharField(
                        blank=True,
                        choices=[("schedule", "schedule"), ("run now", "by hand")],
                        default="",
                        max_length=20,
                    ),
                ),
                ("planned", models.DateField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[("published", "published"), ("failed", "failed"), ("refused", "refused")],
                        default="",
                        max_length=20,
                    ),
                ),
                ("host", models.CharField(blank=True, default="", max_length=63)),
                ("run", models.UUIDField(null=True)),
                (
                    "task",
                    models.ForeignKey(
                        db_column="id_task",
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log",
                        to="reports.task",
                    ),
                ),
            ],
            options={
                "db_table": "reports_runlog",
            },
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.UniqueConstraint(fields=("client", "file_name"), name="reports_file_name"),
        ),
        migrations.AddIndex(
            model_name="runlog",
            index=models.Index(fields=["task", "-date", "-id"], name="reports_log_of_task"),
        ),
        migrations.AddIndex(
            model_name="runlog",
            index=models.Index(
                condition=models.Q(("is_success", True)), fields=["task", "-date", "-id"], name="reports_log_good"
            ),
        ),
    ]
