"""What is known of runs under way that somebody follows."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0011_asking"),
    ]

    operations = [
        migrations.CreateModel(
            name="LivePart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run", models.UUIDField()),
                ("start", models.BigIntegerField()),
                ("line", models.BigIntegerField()),
                ("text", models.TextField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("run", "start"), name="live_part")],
            },
        ),
        migrations.CreateModel(
            name="Live",
            fields=[
                ("run", models.UUIDField(primary_key=True, serialize=False)),
                ("watched", models.DateTimeField()),
                ("output_position", models.BigIntegerField(default=0)),
                ("report_position", models.BigIntegerField(default=0)),
                ("length", models.BigIntegerField(default=0)),
                ("lines", models.BigIntegerField(default=0)),
                ("counts", models.JSONField(default=dict)),
                ("items", models.JSONField(default=list)),
                ("item_amount", models.BigIntegerField(default=0)),
                ("revision", models.BigIntegerField(default=0)),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="live",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["host", "watched"], name="live_of_host")],
            },
        ),
    ]
