"""A client that keeps requesting until its standard input closes: `load.py ADDRESS NAME CERTIFICATE SECONDS PAUSE`.

Each of its threads pauses so many seconds between two requests. Half of them keep their connection, half open a new one
for each request. At its end it prints one JSON object: how many requests were served, every failure, the slowest answer
and the releases that /readyz named.
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

THREADS = 4
PATHS = ("/healthz", "/readyz", "/healthz", "/login/")
MOST_REQUESTS = 400_000


class Connection(http.client.HTTPSConnection):
    """HTTPS to an address under another name."""

    def __init__(self, address: str, name: str, context: ssl.SSLContext) -> None:
        super().__init__(name, context=context, timeout=60)
        self.address, self.name, self.trust = address, name, context

    def connect(self) -> None:
        plain = socket.create_connection((self.address, 443), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.trust.wrap_socket(plain, server_hostname=self.name)


@dataclass
class Tally:
    """What happened to all requests of one thread."""

    served: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)
    releases: Counter[str] = field(default_factory=Counter)


def request(connection: Connection, path: str, tally: Tally) -> None:
    began = time.monotonic()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        tally.failures.append(f"{path} {type(error).__name__}: {error} after {time.monotonic() - began:.3f} s")
        connection.close()
        return
    tally.slowest = max(tally.slowest, time.monotonic() - began)
    if answer.status != 200:
        tally.failures.append(f"{path} {answer.status} {body[:400]!r}")
        return
    tally.served += 1
    if path == "/readyz":
        tally.releases[json.loads(body)["release"]] += 1


def keep_requesting(
    connection: Connection, keep: bool, tally: Tally, end: threading.Event, deadline: float, pause: float
) -> None:
    number = 0
    while not end.is_set() and time.monotonic() < deadline and number < MOST_REQUESTS // THREADS:
        request(connection, PATHS[number % len(PATHS)], tally)
        number += 1
        if not keep:
            connection.close()
        end.wait(pause)
    connection.close()


def main(address: str, name: str, certificate: str, seconds: float, pause: float) -> None:
    context = ssl.create_default_context(cafile=certificate)
    end, deadline = threading.Event(), time.monotonic() + seconds
    tallies = [Tally() for _ in range(THREADS)]
    threads = [
        threading.Thread(
            target=keep_requesting,
            args=(Connection(address, name, context), number % 2 == 0, tally, end, deadline, pause),
        )
        for number, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    print("requesting", flush=True)
    sys.stdin.read()
    end.set()
    for thread in threads:
        thread.join()
    releases: Counter[str] = Counter()
    for tally in tallies:
        releases += tally.releases
    print(
        json.dumps(
            {
                "served": sum(tally.served for tally in tallies),
                "failures": [failure for tally in tallies for failure in tally.failures],
                "slowest": max(tally.slowest for tally in tallies),
                "releases": dict(releases),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5]))
