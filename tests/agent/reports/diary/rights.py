"""Whose each address of the reports' pages is: whoever adds one says it here.

ADMINISTRATOR; EDITOR of the client it is about, or of any where it is about none; HOST that makes reports; CLIENT of
the downloads, with a key or a login of its own, which decides by itself what strangers see; ASKER of a run, while an
editor of its client, and administrators; PROGRAM with a token of the reports.
"""

ADMINISTRATOR, EDITOR, HOST, CLIENT = "administrator", "editor", "host", "client"
ASKER, PROGRAM = "asker", "program"

RIGHTS = {
    "clients": EDITOR,
    "new_client": ADMINISTRATOR,
    "client": EDITOR,
    "change_client": ADMINISTRATOR,
    "delete_client": ADMINISTRATOR,
    "client_key": ADMINISTRATOR,
    "client_password": ADMINISTRATOR,
    "client_editors": ADMINISTRATOR,
    "new_report": EDITOR,
    "try_new": EDITOR,
    "run": EDITOR,
    "try_report": EDITOR,
    "asked": ASKER,
    "asked_live": ASKER,
    "asked_output": ASKER,
    "asked_difference": ASKER,
    "withdraw": ASKER,
    "tokens": ADMINISTRATOR,
    "make_token": ADMINISTRATOR,
    "revoke_token": ADMINISTRATOR,
    "run_task": PROGRAM,
    "dry_run_task": PROGRAM,
    "report": EDITOR,
    "delete_report": EDITOR,
    "report_history": EDITOR,
    "restore_report": EDITOR,
    "libraries": EDITOR,
    "new_library": ADMINISTRATOR,
    "library": EDITOR,
    "save_library": ADMINISTRATOR,
    "delete_library": ADMINISTRATOR,
    "library_history": EDITOR,
    "restore_library": ADMINISTRATOR,
    "lint": EDITOR,
    "definitions": HOST,
    "attempts": HOST,
    "files": CLIENT,
    "leave": CLIENT,
    "file": CLIENT,
    "version": CLIENT,
}
