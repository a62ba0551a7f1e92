"""The tally of runs by day, task, host and status; `rota-diary index` counts what was there before it."""

import django.db.models.deletion
from django.db import migrations, models


def mark_uncounted(apps, schema_editor):
    if apps.get_model("diary", "Run").objects.exists():
        apps.get_model("diary", "Mark").objects.create(name="tally: not before", value="2100-01-01")


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0008_listing"),
    ]

    operations = [
        migrations.CreateModel(
            name="Tally",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("task", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("skipped", "skipped"),
                            ("lost", "lost"),
                        ],
                        max_length=20,
                    ),
                ),
                ("runs", models.BigIntegerField()),
                ("seconds", models.FloatField()),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tallies",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["task", "day"], name="tally_task")],
                "constraints": [
                    models.UniqueConstraint(fields=("day", "host", "task", "status"), name="tally_once"),
                ],
            },
        ),
        migrations.RunPython(mark_uncounted, migrations.RunPython.noop),
    ]
