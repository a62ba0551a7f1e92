#!/usr/bin/python
"""Asks a host whether it keeps what a role promises; changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: promises
short_description: Compare what a role promises with what the host shows, without changing anything
description:
  - Every entry is one promise, a sentence, and one way to see whether it is kept.
  - All promises are looked at before the step fails, and the message names each that is broken and what was seen.
options:
  promises:
    description: >-
      Each with C(promise), the sentence, and one of C(unit) (is active), C(file) (with C(mode), C(owner), C(says)),
      C(command) (ends well, C(says)), C(url) (answers C(status), C(says)), C(refuses) (address and port that must not
      be reached, and must be refused at once).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Verify the measurements
  promises:
    promises:
      - {promise: Measurements are served on the host, url: "http://127.0.0.1:9100/metrics", says: node_load1}
"""

RETURN = r"""
kept:
  description: The promises that are kept.
  type: list
"""

import grp
import pwd
import re
import socket
import ssl
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

PROMISE = {
    "promise": {"type": "str", "required": True},
    "unit": {"type": "str"},
    "file": {"type": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "command": {"type": "list", "elements": "str"},
    "url": {"type": "str"},
    "status": {"type": "int", "default": 200},
    "refuses": {"type": "list", "elements": "str"},
    "says": {"type": "str"},
}
WAYS = ("unit", "file", "command", "url", "refuses")
PATIENCE = 5  # seconds; what a firewall refuses it refuses at once


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer, too."""

    def redirect_request(self, *_):
        return None


def said(promise, text):
    """None where the text is as promised, else what it is."""
    if promise["says"] is None or re.search(promise["says"], text, re.MULTILINE):
        return None
    return f"it says {text.strip()[:300]!r}"


def look_at_unit(promise):
    """A unit is to be active."""
    asked = subprocess.run(["systemctl", "is-active", promise["unit"]], capture_output=True, text=True)
    return None if asked.returncode == 0 else f"{promise['unit']} is {asked.stdout.strip() or 'unknown'}"


def look_at_file(promise):
    """A file is to be there, as described."""
    path = Path(promise["file"])
    if not path.exists():
        return f"{path} does not exist"
    seen = path.stat()
    shown = {
        "mode": f"{stat.S_IMODE(seen.st_mode):04o}",
        "owner": pwd.getpwuid(seen.st_uid).pw_name,
        "group": grp.getgrgid(seen.st_gid).gr_name,
    }
    for name, value in shown.items():
        if promise[name] is not None and promise[name] != value:
            return f"{path} has the {name} {value}"
    return said(promise, path.read_text()) if promise["says"] is not None else None


def look_at_command(promise):
    """A command that only asks is to end well."""
    asked = subprocess.run(promise["command"], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/")
    if asked.returncode != 0:
        return f"{promise['command'][0]} ends with {asked.returncode}: {(asked.stderr or asked.stdout).strip()[-300:]}"
    return said(promise, asked.stdout)


def look_at_url(promise):
    """A page is to answer; whose certificate it is, is another promise."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(NoRedirects, urllib.request.HTTPSHandler(context=context))
    try:
        answer = opener.open(promise["url"], timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        return f"{promise['url']} does not answer: {error}"
    with answer:
        if answer.status != promise["status"]:
            return f"{promise['url']} answers {answer.status}"
        return said(promise, f"{answer.headers}\n{answer.read(100_000).decode(errors='replace')}")


def look_at_refuses(promise):
    """A place in the world is to be out of reach."""
    address, port = promise["refuses"]
    try:
        socket.create_connection((address, int(port)), timeout=PATIENCE).close()
    except TimeoutError:
        return f"{address} port {port} is not refused, it just does not answer"
    except OSError:
        return None
    return f"{address} port {port} is reached"


def broken(promise):
    """What was seen instead of what was promised, or None."""
    ways = [way for way in WAYS if promise[way] is not None]
    if len(ways) != 1:
        return f"a promise takes exactly one of {', '.join(WAYS)}"
    try:
        return globals()[f"look_at_{ways[0]}"](promise)
    except (OSError, KeyError) as error:
        return str(error)


def main():
    """The module as Ansible starts it."""
    module = AnsibleModule(
        argument_spec={"promises": {"type": "list", "elements": "dict", "options": PROMISE, "required": True}},
        supports_check_mode=True,
    )
    seen = {promise["promise"]: broken(promise) for promise in module.params["promises"]}
    failures = [f"{sentence}: {what}" for sentence, what in seen.items() if what is not None]
    if failures:
        module.fail_json(msg="\n".join(["Not kept:", *failures]))
    module.exit_json(changed=False, kept=list(seen))


if __name__ == "__main__":
    main()
