"""What people may write into the forms of reports, but for names, whose rules stand in names.py."""

from typing import Any

from django import forms

from rota.packs.reports.diary.editing import RESTORED
from rota.packs.reports.diary.models import Check, Frequency, MonthEnd, Task

LONGEST_BODY = 200_000
LONGEST_NOTE = 20_000
MOST_KEPT = 100
LONGEST_RUN = 24 * 3600
MOST_MEMORY = 1024 * 1024
"""MiB."""


class ReportForm(forms.Form):
    """A report with its script and query."""

    file_name = forms.CharField(max_length=200)
    description = forms.CharField(max_length=LONGEST_NOTE, required=False)
    start_date = forms.DateField()
    frequency = forms.ChoiceField(choices=Frequency.choices)
    month_end = forms.ChoiceField(choices=MonthEnd.choices)
    catch_up = forms.BooleanField(required=False)
    checks = forms.MultipleChoiceField(choices=Check.choices, required=False)
    shrink_percent = forms.IntegerField(min_value=0, max_value=100, required=False)
    keep = forms.IntegerField(min_value=0, max_value=MOST_KEPT)
    timeout = forms.IntegerField(min_value=0, max_value=LONGEST_RUN)
    memory = forms.IntegerField(min_value=0, max_value=MOST_MEMORY)
    is_active = forms.BooleanField(required=False)
    is_public = forms.BooleanField(required=False)
    notes = forms.CharField(max_length=LONGEST_NOTE, required=False)
    script = forms.CharField(max_length=LONGEST_BODY, required=False, strip=False)
    query = forms.CharField(max_length=LONGEST_BODY, required=False, strip=False)
    token = forms.CharField(required=False)

    @property
    def columns(self) -> dict[str, Any]:
        """What a valid form says of the task's own columns."""
        return {name: self.cleaned_data[name] for name in RESTORED}


class LibraryForm(forms.Form):
    """A library, script or query."""

    name = forms.CharField(max_length=255)
    body = forms.CharField(max_length=LONGEST_BODY, required=False, strip=False)
    notes = forms.CharField(max_length=LONGEST_NOTE, required=False)
    token = forms.CharField(required=False)


class ClientForm(forms.Form):
    """A client's names and notes."""

    username = forms.CharField(max_length=45)
    name = forms.CharField(max_length=255)
    notes = forms.CharField(max_length=LONGEST_NOTE, required=False)


def values_of(task: Task) -> dict[str, Any]:
    """What the form of this report begins with."""
    script = task.script
    query = script.query if script else None
    return {name: getattr(task, name) for name in RESTORED} | {
        "script": script.body if script else "",
        "query": query.body if query else "",
    }
