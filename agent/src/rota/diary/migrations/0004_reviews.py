"""What people find a run to be, the words they mark it with, and what is carried from run to run."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0003_outbound"),
    ]

    operations = [
        migrations.AddField(
            model_name="review",
            name="assessment",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "none yet"),
                    ("ok", "ok"),
                    ("not_ok", "not ok"),
                    ("issue", "known issue"),
                    ("other", "other"),
                    ("obsolete", "obsolete"),
                ],
                db_default="",
                default="",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="review",
            name="carried_from",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="diary.run"
            ),
        ),
        migrations.AddField(
            model_name="review",
            name="tags",
            field=models.CharField(blank=True, db_default="", default="", max_length=1000),
        ),
        migrations.AddField(
            model_name="run",
            name="assessment",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "none yet"),
                    ("ok", "ok"),
                    ("not_ok", "not ok"),
                    ("issue", "known issue"),
                    ("other", "other"),
                    ("obsolete", "obsolete"),
                ],
                db_default="",
                default="",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="failure",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
        migrations.CreateModel(
            name="RunTag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
                ("started", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="tags", to="diary.run"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["name", "-started", "-run"], name="tag_started")],
                "constraints": [models.UniqueConstraint(fields=("run", "name"), name="tag_once")],
            },
        ),
    ]
