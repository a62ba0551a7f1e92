#!/usr/bin/python
"""The arguments of a `converge` step; the action of this name checks them, provision/plugins/host does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: converge
short_description: Bring a concern of a host to its described state in one round trip
description:
  - Installs packages, makes users, writes files (each validated beside before it is replaced), applies
    tmpfiles.d and sysusers.d fragments, makes keys, and brings units to their state, in this order.
  - Templates are rendered on the control side. What is secret never appears in a log or a result.
  - An entry of any list may carry C(when).
options:
  packages:
    description: Debian packages to be installed.
    type: list
    elements: str
    default: []
  users:
    description:
      - System users and people. C(keys) is the whole content of authorized_keys.
      - C(groups) are joined, and with C(only_groups) all others left.
    type: list
    elements: dict
    default: []
  files:
    description: Files, directories, links, and what must be absent.
    type: list
    elements: dict
    default: []
  check:
    description: Commands that must succeed once the files are in place; else all files go back to what they were.
    type: list
    elements: list
    default: []
  certificates:
    description: Self-signed certificates made once on the host, and anew when less than C(days_left) remain.
    type: list
    elements: dict
    default: []
  keys:
    description: Key pairs (ed25519) made once on the host.
    type: list
    elements: dict
    default: []
  units:
    description: Units of systemd and their state, in order.
    type: list
    elements: dict
    default: []
  postgres:
    description:
      - Roles and databases of the host's PostgreSQL, which is asked as its user postgres.
      - C(only) of a role is for pg_hba.conf, which is a file like others.
      - C(readers) may read every table of a database, now and later, and write nothing.
    type: dict
"""

EXAMPLES = r"""
- name: Converge the firewall
  converge:
    packages: [nftables]
    files:
      - path: /etc/nftables.conf
        template: nftables.conf.j2
        mode: "0755"
        validate: [nft, --check, --file, "%s"]
    units:
      - {name: nftables.service, enabled: true, state: started, reloaded_by: [/etc/nftables.conf]}
"""

RETURN = r"""
changes:
  description: One sentence for each thing that was, or in check mode would be, changed.
  type: list
public_keys:
  description: The public half of each key, by the path of the private one; empty where it is still to be made.
  type: dict
"""

USER = {
    "name": {"type": "str", "required": True},
    "state": {"choices": ["present", "absent"], "default": "present"},
    "system": {"type": "bool", "default": False},
    "group": {"type": "str"},
    "groups": {"type": "list", "elements": "str", "default": []},
    "only_groups": {"type": "bool", "default": False},
    "home": {"type": "str"},
    "make_home": {"type": "bool"},
    "shell": {"type": "str"},
    "comment": {"type": "str"},
    "keys": {"type": "list", "elements": "str", "no_log": False},
}
FILE = {
    "path": {"type": "str", "required": True},
    "state": {"choices": ["file", "directory", "link", "absent"], "default": "file"},
    "target": {"type": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "validate": {"type": "list", "elements": "str"},
    "secret": {"type": "bool", "default": False, "no_log": False},
    "once": {"type": "bool", "default": False},
    "previous": {"type": "bool", "default": False},
}
KEY = {
    "path": {"type": "str", "required": True},
    "comment": {"type": "str", "default": ""},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
CERTIFICATE = {
    "path": {"type": "str", "required": True},
    "key": {"type": "str", "required": True, "no_log": False},
    "names": {"type": "list", "elements": "str", "required": True},
    "days": {"type": "int", "default": 825},
    "days_left": {"type": "int", "default": 30},
}
ROLE = {
    "name": {"type": "str", "required": True},
    "createdb": {"type": "bool", "default": False},
    "member_of": {"type": "list", "elements": "str", "default": []},
    "only": {"type": "list", "elements": "str", "default": []},
    "connections": {"type": "int", "default": -1},
}
DATABASE = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "extensions": {"type": "list", "elements": "str", "default": []},
    "connect": {"type": "list", "elements": "str", "default": []},
}
READER = {
    "role": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
}
POSTGRES = {
    "roles": {"type": "list", "elements": "dict", "options": ROLE, "default": []},
    "databases": {"type": "list", "elements": "dict", "options": DATABASE, "default": []},
    "readers": {"type": "list", "elements": "dict", "options": READER, "default": []},
}
UNIT = {
    "name": {"type": "str", "required": True},
    "enabled": {"type": "bool"},
    "state": {"choices": ["started", "stopped"]},
    "restarted_by": {"type": "list", "elements": "str", "default": []},
    "reloaded_by": {"type": "list", "elements": "str", "default": []},
}
ARGUMENTS = {
    "packages": {"type": "list", "elements": "str", "default": []},
    "users": {"type": "list", "elements": "dict", "options": USER, "default": []},
    "files": {"type": "list", "elements": "dict", "options": FILE, "default": []},
    "check": {"type": "list", "elements": "list", "default": []},
    "keys": {"type": "list", "elements": "dict", "options": KEY, "default": [], "no_log": False},
    "units": {"type": "list", "elements": "dict", "options": UNIT, "default": []},
    "certificates": {"type": "list", "elements": "dict", "options": CERTIFICATE, "default": []},
    "postgres": {"type": "dict", "options": POSTGRES},
}


def main():
    """Only the action plugin knows how to do it."""
    raise SystemExit("converge needs its action plugin: name provision/plugins/action in ansible.cfg")


if __name__ == "__main__":
    main()
