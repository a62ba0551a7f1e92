"""Find the last good run of a task at once, and what was caught by its words (`rota-diary index` reads those)."""

from django.db import migrations, models


def mark_unread(apps, schema_editor):
    if apps.get_model("diary", "Outbound").objects.exists():
        # None of it is in the index yet, whenever it was caught.
        apps.get_model("diary", "Mark").objects.create(name="caught: not before", value="2100-01-01T00:00:00+00:00")


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0013_standings"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["host", "task", "-started", "-id"],
                condition=models.Q(status="succeeded", dry_run=False),
                name="run_good",
            ),
        ),
        migrations.AlterField(
            model_name="words",
            name="run",
            field=models.UUIDField(db_column="run_id", unique=True),
        ),
        migrations.RenameField(model_name="words", old_name="run", new_name="run_id"),
        migrations.AlterField(model_name="words", name="run_id", field=models.UUIDField(unique=True)),
        migrations.RunPython(mark_unread, migrations.RunPython.noop),
    ]
