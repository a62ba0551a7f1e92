"""Whose each address of the reports' pages is: whoever adds one says it here.

ADMINISTRATOR; EDITOR of the client it is about, or of any where it is about none; HOST that makes reports; CLIENT of
the downloads, with a key or a login of its own, which decides by itself what strangers see.
"""

ADMINISTRATOR, EDITOR, HOST, CLIENT = "administrator", "editor", "host", "client"

RIGHTS = {
    "definitions": HOST,
    "attempts": HOST,
    "files": CLIENT,
    "leave": CLIENT,
    "file": CLIENT,
    "version": CLIENT,
}
