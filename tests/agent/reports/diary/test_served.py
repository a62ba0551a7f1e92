"""The embedded diary as a process of its own: programs ask it over HTTP, at once, and its own workers answer."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from rota.packs.reports import asking as files
from rota.packs.reports.asking import State
from rota.packs.reports.workplace import Workplace
from tests.agent.diary.conftest import SOURCES, empty_diary
from tests.agent.waiting import wait_until

__all__ = ["empty_diary"]

FILL = """
import sys
import django
django.setup()
from datetime import date
from rota.packs.reports.diary import tokens
from rota.packs.reports.diary.models import ApiToken, Client, Script, Task
from rota.diary.tokens import digest
client = Client.objects.create(name="The library", username="library")
for name in ("one", "two"):
    script = Script.objects.create(name=f"library:{name}_csv", body=sys.argv[1])
    task = Task.objects.create(
        client=client, script=script, file_name=f"{name}.csv", extension="csv", start_date=date(2026, 1, 1)
    )
    print(task.pk)
ApiToken.objects.create(name="shop", digest=digest("a token"))
"""
pytestmark = pytest.mark.servers
SLOW = "import time\ntime.sleep(15)\nprint(1)\n"  # inside the sandbox


class Diary:
    """A diary that is served, with two reports."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.places = Workplace(home / "reports")
        fill = [sys.executable, "-c", FILL, SLOW]
        settings = {"DJANGO_SETTINGS_MODULE": "rota.diary.settings", **environment}
        self.reports = subprocess.run(fill, env=settings, check=True, capture_output=True, text=True).stdout.split()
        serve = [sys.executable, "-m", "rota.diary.manage", "serve", "--port", "0"]
        self.process = subprocess.Popen(serve, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()

    def post(self, path: str) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(self.address.removeprefix("http://").rstrip("/"), timeout=60)
        with closing(connection):
            connection.request("POST", path, headers={"Authorization": "Bearer a token"})
            response = connection.getresponse()
            return response.status, json.load(response)


@pytest.fixture
def diary(tmp_path: Path, empty_diary: Path) -> Iterator[Diary]:
    shutil.copyfile(empty_diary, tmp_path / "diary.sqlite3")
    (tmp_path / "diary.yml").write_text("diary: {packs: {reports: {waiting: 3}}}\n")
    served = Diary(tmp_path, {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCES), "ROTA_HOME": str(tmp_path)})
    try:
        yield served
    finally:
        served.process.send_signal(signal.SIGINT)
        served.process.wait(30)


def test_of_two_who_ask_for_a_report_at_once_one_is_told_and_another_report_is_made_beside(diary: Diary) -> None:
    one, two = diary.reports
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(diary.post, (f"/runtask/{one}", f"/runtask/{one}", f"/runtask/{two}")))
    assert sorted(status for status, _ in answers[:2]) == [200, 409]
    assert answers[2][0] == 200
    assert {path.name for path in (diary.places.exports / "library").glob("*.csv")} == {"one.csv", "two.csv"}


def test_a_request_outlives_the_diary_that_took_it(diary: Diary) -> None:
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(diary.post, f"/runtask/{diary.reports[0]}")
        wait_until(lambda: diary.places.results.exists() and any(diary.places.results.iterdir()), seconds=30)
        (folder,) = diary.places.results.iterdir()
        diary.process.kill()
        assert waits.exception() is not None
    wait_until(lambda: files.standing(diary.places, folder.name).state is State.DONE, seconds=30)
    assert (diary.places.exports / "library/one.csv").read_text() == "1\n"
