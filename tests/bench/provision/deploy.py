"""The same work as site.yml for pyinfra, from what the benchmark has written down."""

import json
from pathlib import Path

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import apt, files, postgres, server, systemd

FOLDER = Path(host.data.bench_folder)

for entry in host.loop(json.loads((FOLDER / "work.json").read_text())):
    if host.name not in entry["hosts"]:
        continue
    kind, values = entry["kind"], entry["values"]
    if kind == "packages":
        apt.packages(packages=values, no_recommends=True, update=True, cache_time=86400)
    elif kind == "user":
        server.user(
            user=values["name"],
            system=values["system"],
            home=values["home"],
            shell=values["shell"],
            groups=values["groups"],
            append=True,
            ensure_home=False,
        )
    elif kind == "group":
        server.group(group=values, system=True)
    elif kind == "file":
        attributes = {"user": values["owner"], "group": values["group"], "mode": values["mode"]}
        files.put(src=str(FOLDER / "work" / host.name / values["source"]), dest=values["path"], **attributes)
    elif kind == "directory":
        attributes = {"user": values["owner"], "group": values["group"], "mode": values["mode"]}
        files.directory(path=values["path"], **attributes)
    elif kind == "link":
        files.link(path=values["path"], target=values["target"])
    elif kind == "absent":
        files.link(path=values["path"], present=False)  # the one thing roles remove is a link: nginx's default site
    elif kind == "key":
        if host.get_fact(File, path=values["path"]) is None:
            server.shell(commands=[f"ssh-keygen -q -t ed25519 -N '' -f {values['path']}"])
    elif kind == "reload":
        systemd.daemon_reload()
    elif kind == "unit":
        started = True if values["state"] == "started" else None
        systemd.service(service=values["name"], running=started, enabled=values["enabled"])
    elif kind == "role":
        postgres.role(role=values["name"], login=True, _su_user="postgres")
    elif kind == "database":
        postgres.database(database=values["name"], owner=values["owner"], _su_user="postgres")
