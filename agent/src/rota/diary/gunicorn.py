"""How gunicorn serves the diary on a host: named by the unit as `--config python:rota.diary.gunicorn`."""

import os

# The listening socket is systemd's (rota-diary.socket) unless --bind names another; it outlives this process, so
# what arrives during a restart waits in its backlog and is served by the next one.
wsgi_app = "rota.diary.wsgi:application"
proc_name = "rota-diary"

worker_class = "gthread"
workers = min(4, os.cpu_count() or 1)
threads = 8
backlog = 2048
preload_app = False  # database connections must not be shared between workers

timeout = 60
graceful_timeout = 30  # requests in flight at SIGTERM have this long; keep TimeoutStopSec= above it
keepalive = 0  # nginx opens a connection per request: none can be open and idle when the process stops

# nginx speaks over the unix socket and overwrites these headers; gunicorn trusts a unix peer.
forwarded_allow_ips = "127.0.0.1,::1"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}

accesslog = None  # nginx writes the access log
errorlog = "-"
loglevel = "info"
control_socket_disable = True
worker_tmp_dir = "/dev/shm"  # noqa: S108 the workers' heartbeat file must be in memory, and gunicorn makes it privately
