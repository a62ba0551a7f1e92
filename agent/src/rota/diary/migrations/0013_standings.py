"""How each task of a host stands; and what of the tally counts for nothing, or is of slots that were missed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0012_following"),
    ]

    operations = [
        migrations.AddField(
            model_name="tally",
            name="beside",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="tally",
            name="missed",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="TaskStanding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(max_length=200)),
                ("standing", models.JSONField(default=dict)),
                ("timing", models.JSONField(null=True)),
                ("coming", models.JSONField(default=list)),
                ("due", models.DateTimeField(null=True)),
                ("late", models.DateTimeField(null=True)),
                ("missing", models.DateTimeField(null=True)),
                ("why", models.CharField(blank=True, max_length=2000)),
                ("median", models.FloatField(null=True)),
                ("p95", models.FloatField(null=True)),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="standings",
                        to="diary.host",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["late"], name="standing_late"),
                    models.Index(fields=["due"], name="standing_due"),
                    models.Index(
                        condition=models.Q(("missing__isnull", False)), fields=["missing"], name="standing_missing"
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("host", "task"), name="standing_of_task")],
            },
        ),
    ]
