"""The made-up estate's tasks: where each runs, when, for how long, and what it speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

HOSTS = ("production", "staging", "development", "backup")
ALL = HOSTS
LIVE = HOSTS[:3]
FRONT = ("production", "staging")

DAY = 24 * 60
WEEK = 7 * DAY
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class MadeTask:
    """`every` is minutes between slots, `at` the minute of the first after midnight (of Monday, for weekly ones).

    `typical` is seconds; `size` the median of its output in bytes, 0 where it says nothing; `things` what its items
    are called, with a place for a number. `success` is which part of its runs is to succeed.
    """

    name: str
    pack: str
    hosts: tuple[str, ...]
    every: int
    at: int
    typical: float
    size: int
    counts: tuple[str, ...] = ()
    things: str = ""
    parameters: Mapping[str, str] | None = None
    success: float | None = None

    @property
    def schedule(self) -> str:
        """Its slots as a calendar expression."""
        day, minute = divmod(self.at, DAY)
        hour = minute // 60
        if self.every == WEEK:
            return f"{WEEKDAYS[day]} {hour:02}:{minute % 60:02}"
        return f"{hour:02}:{minute % 60:02}" if self.every == DAY else f"{hour:02}/{self.every // 60}:{minute % 60:02}"

    def slots(self, begin: datetime, end: datetime) -> list[datetime]:
        """Its slots from `begin` on and before `end`, both in UTC."""
        monday = begin.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=begin.weekday())
        step, found = timedelta(minutes=self.every), []
        slot = monday + timedelta(minutes=self.at)
        slot += step * max(0, (begin - slot) // step)
        while slot < end:
            if slot >= begin:
                found.append(slot)
            slot += step
        return found


TASKS = (
    MadeTask("check_host", "logs", ALL, 60, 7, 0.8, 160),
    MadeTask(
        "compress_old_logs", "logs", ALL, DAY, 70, 6.0, 420, ("files", "bytes before"), "/var/log/nginx/access-{}.log"
    ),
    MadeTask("cull_old_exports", "logs", LIVE, DAY, 50, 1.4, 260, ("files",), "/srv/exports/members-{}.csv"),
    MadeTask("process_logged_errors", "logs", LIVE, 120, 20, 2.1, 380, ("errors",)),
    MadeTask("process_logs", "logs", FRONT, DAY, 185, 48.0, 2200, ("visits", "pages")),
    MadeTask("geoip_download", "logs", FRONT, WEEK, 1500, 9.0, 240, (), "GeoLite2-Country_{}.mmdb"),
    MadeTask(
        "backup", "backup", ("production",), 60, 20, 96.0, 1500, ("databases", "bytes"), "diary-{}.dump", None, 0.9
    ),
    MadeTask("backup_prune", "backup", ("backup",), DAY, 220, 75.0, 900, ("archives",)),
    MadeTask("backup_check", "backup", ("backup",), WEEK, 6 * DAY + 280, 2900.0, 700, ("chunks",)),
    MadeTask(
        "backup_drill", "backup", ("backup",), WEEK, 2 * DAY + 280, 420.0, 1900, ("tables", "rows"), "public.table_{}"
    ),
    MadeTask("backup_freshness", "backup", ("backup",), 60, 50, 1.1, 90, ("senders",)),
    MadeTask("restore_staging", "mirror", ("staging",), DAY, 300, 260.0, 3100, ("tables", "files"), "public.member_{}"),
    MadeTask(
        "send_reports", "reports", FRONT, DAY, 390, 31.0, 1300, ("reports", "mails"), "report-{}.pdf", {"format": "pdf"}
    ),
    MadeTask(
        "build_statistics", "reports", FRONT, 360, 15, 140.0, 2600, ("rows",), "loans-{}.csv", {"since": "2026-01-31"}
    ),
    MadeTask(
        "import_members", "community", LIVE, 240, 35, 14.0, 850, ("members", "skipped"), "members-{}.xml", None, 0.95
    ),
    MadeTask("remind_members", "community", ("production",), DAY, 480, 8.0, 520, ("mails",), "member {}"),
    MadeTask("collect_files", "prepress", FRONT, 120, 3, 3.5, 300, ("files", "bytes"), "/srv/in/a-{}.pdf"),
    MadeTask("preflight", "prepress", FRONT, 180, 11, 22.0, 1700, ("pages", "warnings"), "/srv/in/order-{}.pdf"),
    MadeTask(
        "render_plates",
        "prepress",
        ("production",),
        240,
        41,
        180.0,
        4200,
        ("plates",),
        "plate-{}.tiff",
        {"screen": "175"},
    ),
    MadeTask(
        "harvest_sites", "archive", FRONT, 360, 95, 1800.0, 7000, ("pages", "bytes"), "https://site-{}.example.org/"
    ),
    MadeTask(
        "check_fixity", "archive", ("production", "backup"), WEEK, 5 * DAY + 120, 5200.0, 2100, ("files",), "warc-{}.gz"
    ),
    MadeTask(
        "run_simulation",
        "simulation",
        ("production", "development"),
        180,
        29,
        900.0,
        5200,
        ("steps",),
        "case_{}.inp",
        {"mesh": "fine"},
    ),
    MadeTask("fetch_prices", "commands", FRONT, 60, 2, 1.9, 140, ("prices",)),
    MadeTask("renew_certificates", "commands", FRONT, 720, 33, 2.4, 220),
)
