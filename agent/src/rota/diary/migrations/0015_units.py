"""How the units of tasks confine them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0014_comparing"),
    ]

    operations = [
        migrations.CreateModel(
            name="TaskUnit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=128)),
                ("exposure", models.FloatField()),
                ("hardening", models.JSONField()),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="units",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("host", "task", "hash"), name="unit_of_task")],
            },
        ),
    ]
