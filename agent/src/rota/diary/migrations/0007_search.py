"""The full-text index, empty: `rota-diary index` fills it with the runs that are there already."""

import django.db.models.deletion
from django.db import migrations, models

import rota.diary.models

MAKE = {
    # Without a list of what is pending, which every search would have to read through.
    "postgresql": ["CREATE INDEX words_gin ON diary_words USING gin (words) WITH (fastupdate = off)"],
    "sqlite": [
        """CREATE VIRTUAL TABLE diary_fts USING fts5 (words, content='', columnsize=0, tokenize="ascii tokenchars '='")"""
    ],
}
DROP = {"postgresql": [], "sqlite": ["DROP TABLE diary_fts"]}


def make_index(apps, schema_editor):
    for statement in MAKE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)
    if apps.get_model("diary", "Run").objects.exists():
        # Nothing is in it yet, whenever it began.
        apps.get_model("diary", "Mark").objects.create(name="search: not before", value="2100-01-01T00:00:00+00:00")


def drop_index(apps, schema_editor):
    for statement in DROP[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [
        ("diary", "0006_people"),
    ]

    operations = [
        migrations.CreateModel(
            name="Mark",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("value", models.CharField(max_length=100)),
            ],
        ),
        migrations.CreateModel(
            name="Words",
            fields=[
                ("key", models.BigIntegerField(primary_key=True, serialize=False)),
                ("words", rota.diary.models.WordsField()),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="words", to="diary.run"
                    ),
                ),
            ],
        ),
        migrations.RunPython(make_index, drop_index),
    ]
