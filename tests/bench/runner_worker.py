"""What one job costs in a resident worker of APScheduler, Huey or Procrastinate; run in their own environment.

    python runner_worker.py NAME FOLDER JOBS

Each in its usual form, with a job that starts `true`. FOLDER is for its files; for Procrastinate it is also the folder
of PostgreSQL's socket. Prints one JSON object: milliseconds from a job's being due or enqueued until its end is
recorded, for jobs that come one by one and for each of many that wait; the worker's resident bytes at the end; and
the milliseconds of `true` and of a bare interpreter meanwhile, so that a busy moment of the machine falls on them too.
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent
WORK = ["/bin/true"]
BARE = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", "pass"]
DEADLINE = 60.0


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def median_start(command: Sequence[str], starts: int = 60) -> float:
    taken = []
    for _ in range(starts):
        began = time.monotonic()
        os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)
        taken.append((time.monotonic() - began) * 1000)
    return statistics.median(taken)


def apscheduler(_: Path, jobs: int) -> dict[str, object]:
    """Scheduler and worker are one process; what ended is told to a listener, and forgotten."""
    from apscheduler.events import EVENT_JOB_EXECUTED
    from apscheduler.schedulers.background import BackgroundScheduler

    ended = threading.Semaphore(0)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_listener(lambda _: ended.release(), EVENT_JOB_EXECUTED)
    scheduler.start()
    single = []
    for _ in range(jobs):
        began = time.monotonic()
        scheduler.add_job(subprocess.run, args=[WORK])
        acquire(ended)
        single.append((time.monotonic() - began) * 1000)
    scheduler.pause()
    for _ in range(jobs):
        scheduler.add_job(subprocess.run, args=[WORK], misfire_grace_time=None)
    began = time.monotonic()
    scheduler.resume()
    for _ in range(jobs):
        acquire(ended)
    return {"single": single, "many": (time.monotonic() - began) / jobs * 1000, "resident": resident(os.getpid())}


def acquire(ended: threading.Semaphore) -> None:
    if not ended.acquire(timeout=DEADLINE):
        raise TimeoutError("a job did not end")


HUEY_APP = """
import subprocess, time
from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE

huey = SqliteHuey(filename={file!r})

@huey.task()
def work(began):
    subprocess.run({work!r})
    return began

@huey.signal(SIGNAL_COMPLETE)
def note(signal, task):
    print("ended", (time.monotonic() - task.args[0]) * 1000, flush=True)
"""


def huey(folder: Path, jobs: int) -> dict[str, object]:
    """The consumer asks its SQLite file for work every 0.1 s, and ever more seldom while there is none."""
    (folder / "bench_huey.py").write_text(HUEY_APP.format(file=str(folder / "huey.db"), work=WORK))
    sys.path.insert(0, str(folder))
    from bench_huey import work

    with worker([str(BIN / "huey_consumer"), "bench_huey.huey", "--workers=1"], folder) as consumer:
        ended = (float(line.split()[1]) for line in consumer.stdout if line.startswith(b"ended"))
        work(time.monotonic())
        next(ended)
        single = []
        for _ in range(max(jobs // 4, 1)):
            time.sleep(random.uniform(0, 0.2))  # jobs fall due whenever they do, not when a worker is done
            work(time.monotonic())
            single.append(next(ended))
        consumer.send_signal(signal.SIGSTOP)
        for _ in range(jobs):
            work(time.monotonic())
        consumer.send_signal(signal.SIGCONT)
        began = time.monotonic()
        for _ in range(jobs):
            next(ended)
        many = (time.monotonic() - began) / jobs * 1000
        return {"single": single, "many": many, "resident": resident(consumer.pid)}


PROCRASTINATE_APP = """
import subprocess
import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo={conninfo!r}))

@app.task(name="work")
def work():
    subprocess.run({work!r})
"""

ENDED = """
select count(*), coalesce(extract(epoch from max(at) - min(at)) * 1000, 0)
from procrastinate_events where type = 'succeeded' and job_id > %s
"""
WAITS = """
select extract(epoch from ended.at - asked.at) * 1000
from procrastinate_events asked join procrastinate_events ended using (job_id)
where asked.type = 'deferred' and ended.type = 'succeeded' and job_id > %s and job_id <= %s
"""


def procrastinate(folder: Path, jobs: int) -> dict[str, object]:
    """The worker is told of work by PostgreSQL, which writes down what became of it."""
    conninfo = f"host={folder} dbname=postgres"
    (folder / "bench_procrastinate.py").write_text(PROCRASTINATE_APP.format(conninfo=conninfo, work=WORK))
    import psycopg
    from procrastinate import App, SyncPsycopgConnector

    program = [str(BIN / "procrastinate"), "--app=bench_procrastinate.app"]
    subprocess.run([*program, "schema", "--apply"], cwd=folder, check=True, capture_output=True, env=settings(folder))
    with (
        worker([*program, "worker"], folder) as process,
        psycopg.connect(conninfo, autocommit=True) as database,
        App(connector=SyncPsycopgConnector(conninfo=conninfo)).open() as app,
    ):

        def ask(count: int) -> float:
            """Defer so many jobs, await their end; returns the milliseconds between the first end and the last."""
            (latest,) = database.execute("select coalesce(max(id), 0) from procrastinate_jobs").fetchone()
            app.configure_task("work").batch_defer(*[{}] * count)
            return float(await_value(lambda: database.execute(ENDED, [latest]).fetchone(), count))

        ask(1)
        for _ in range(jobs):
            ask(1)
        spread = ask(jobs)
        single = [float(wait) for (wait,) in database.execute(WAITS, [1, jobs + 1])]
        return {"single": single, "many": spread / (jobs - 1), "resident": resident(process.pid)}


def await_value(look: Callable[[], Sequence[float]], count: int) -> float:
    """The second of two values, as soon as the first reaches `count`."""
    deadline = time.monotonic() + DEADLINE
    while (found := look())[0] < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found[0]} of {count} jobs ended")
        time.sleep(0.005)  # PostgreSQL tells the worker, not us
    return found[1]


@contextmanager
def worker(command: Sequence[str], folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    log = (folder / "worker.log").open("wb")
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, env=settings(folder))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE)


def settings(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder)}


PEERS = {"apscheduler": apscheduler, "huey": huey, "procrastinate": procrastinate}


def main(name: str, folder: str, jobs: str) -> None:
    plain, bare = median_start(WORK), median_start(BARE)
    found = PEERS[name](Path(folder), int(jobs))
    plain, bare = (plain + median_start(WORK)) / 2, (bare + median_start(BARE)) / 2
    print(json.dumps({"plain": plain, "bare": bare, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
