"""What would have left the estate, and who watched a run."""

import django.db.models.deletion
from django.db import migrations, models

ENVIRONMENTS = [
    ("development", "development"),
    ("staging", "staging"),
    ("production", "production"),
    ("backup", "backup"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0002_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="attended",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="Outbound",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("environment", models.CharField(choices=ENVIRONMENTS, max_length=20)),
                ("at", models.DateTimeField()),
                ("task", models.CharField(blank=True, max_length=200)),
                ("run", models.UUIDField(null=True)),
                ("means", models.CharField(max_length=32)),
                ("to", models.TextField()),
                ("subject", models.CharField(blank=True, max_length=2000)),
                ("text", models.TextField(blank=True)),
                ("received", models.DateTimeField()),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="outbound",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["-at", "-id"], name="outbound_at"),
                    models.Index(fields=["environment", "-at", "-id"], name="outbound_environment"),
                    models.Index(fields=["host", "-at", "-id"], name="outbound_host"),
                    models.Index(fields=["task", "-at", "-id"], name="outbound_task"),
                    models.Index(fields=["means", "-at", "-id"], name="outbound_means"),
                    models.Index(fields=["run"], name="outbound_run"),
                ],
            },
        ),
    ]
