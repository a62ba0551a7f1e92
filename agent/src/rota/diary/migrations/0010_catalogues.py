"""The tasks of hosts, how they changed, and which are paused."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0009_tally"),
    ]

    operations = [
        migrations.CreateModel(
            name="Catalogue",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("digest", models.CharField(max_length=64)),
                ("release", models.CharField(blank=True, max_length=255)),
                ("is_asking", models.BooleanField(default=False)),
                ("since", models.DateTimeField()),
                ("last", models.DateTimeField()),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="catalogues",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["host", "-since", "-id"], name="catalogue_host")],
            },
        ),
        migrations.CreateModel(
            name="TaskDefinition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(max_length=64)),
                ("digest", models.CharField(max_length=64)),
                ("definition", models.JSONField()),
                ("release", models.CharField(blank=True, max_length=255)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(null=True)),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="definitions",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["host", "task", "-since"], name="definition_of_task")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("until", None)), fields=("host", "task"), name="definition_in_force"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TaskPause",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(max_length=64)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(null=True)),
                ("by", models.CharField(blank=True, max_length=2000)),
                ("reason", models.CharField(blank=True, max_length=2000)),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pauses",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("host", "task"), name="pause_of_task")],
            },
        ),
    ]
