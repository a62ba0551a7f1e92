"""Find the last good run of a task at once, however long it has failed."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("diary", "0012_following")]

    operations: ClassVar = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["host", "task", "-started", "-id"],
                condition=models.Q(status="succeeded", dry_run=False),
                name="run_good",
            ),
        ),
    ]
