"""What people ask of hosts, and who is likely to ask soon."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0010_catalogues"),
    ]

    operations = [
        migrations.CreateModel(
            name="Attention",
            fields=[
                (
                    "host",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="attention",
                        serialize=False,
                        to="diary.host",
                    ),
                ),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="HostRequest",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("task", models.CharField(max_length=64)),
                (
                    "action",
                    models.CharField(choices=[("run", "run"), ("pause", "pause"), ("resume", "resume")], max_length=20),
                ),
                ("values", models.JSONField(default=list)),
                ("is_dry_run", models.BooleanField(default=False)),
                ("until", models.DateTimeField(null=True)),
                ("why", models.CharField(blank=True, max_length=200)),
                ("asked_by", models.CharField(max_length=254)),
                ("asked", models.DateTimeField()),
                ("expires", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("fetched", "fetched"),
                            ("done", "done"),
                            ("refused", "refused"),
                            ("expired", "expired"),
                        ],
                        default="waiting",
                        max_length=20,
                    ),
                ),
                ("fetched", models.DateTimeField(null=True)),
                ("answered", models.DateTimeField(null=True)),
                ("reason", models.CharField(blank=True, max_length=2000)),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="requests",
                        to="diary.host",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["host", "task", "-asked"], name="request_of_task"),
                    models.Index(
                        condition=models.Q(("state", "waiting")), fields=["host", "expires"], name="request_waiting"
                    ),
                ],
            },
        ),
    ]
