"""Saved searches, and the indexes of the lists of runs."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0007_search"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedSearch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60)),
                ("query", models.CharField(max_length=2000)),
                ("is_shared", models.BooleanField(default=False)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="searches",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("person", "name"), name="search_name")],
            },
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["host", "task", "-started", "-id"], name="run_host_task"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["-started", "-id"],
                condition=models.Q(("review__in", ["needs_analysis", "ongoing"])),
                name="run_open",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["review", "-started", "-id"],
                condition=models.Q(("review", ""), _negated=True),
                name="run_review",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["-duration", "-id"], condition=models.Q(("duration__isnull", False)), name="run_length"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["task", "-duration", "-id"],
                condition=models.Q(("duration__isnull", False)),
                name="run_task_length",
            ),
        ),
    ]
