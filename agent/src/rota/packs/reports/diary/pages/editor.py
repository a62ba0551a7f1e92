"""The editor that stands over text areas of code, in releases that were built with it."""

import json
from typing import Any

from django.contrib.staticfiles import finders
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

BUNDLE = "reports/codemirror.js"
PHRASES = (
    _("Find"), _("Replace"), _("next"), _("previous"), _("all"), _("match case"), _("regexp"), _("by word"),
    _("replace"), _("replace all"), _("close"), _("current match"), _("on line"), _("replaced match on line $"),
    _("replaced $ matches"), _("Go to line"), _("go"), _("Diagnostics"), _("No diagnostics"), _("Selection deleted"),
)  # fmt: skip
"""What CodeMirror says to people, in its own words."""


def shown() -> dict[str, Any]:
    """What templates need to put the editor over their text areas; nothing where there is none."""
    if not finders.find(BUNDLE):
        return {}
    return {"editor": BUNDLE, "phrases": json.dumps({each: gettext(each) for each in PHRASES})}
