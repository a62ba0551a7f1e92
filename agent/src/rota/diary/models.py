"""The diary's tables: hosts and tokens, runs with items and output, deploys, the outbox, reviews, people, audit."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from rota.diary import packs
from rota.diary.phrases import in_words


class Environment(models.TextChoices):
    DEVELOPMENT = "development", _("development")
    STAGING = "staging", _("staging")
    PRODUCTION = "production", _("production")
    BACKUP = "backup", _("backup")


class Status(models.TextChoices):
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("skipped")
    LOST = "lost", _("lost")


class Trigger(models.TextChoices):
    TIMER = "timer", _("timer")
    MANUAL = "manual", _("by hand")
    PATH = "path", _("a file arrived")
    CATCH_UP = "catch_up", _("catching up")
    RETRY = "retry", _("retry")


class Action(models.TextChoices):
    RUN = "run", pgettext_lazy("request", "run")
    PAUSE = "pause", pgettext_lazy("request", "pause")
    RESUME = "resume", pgettext_lazy("request", "resume")


class RequestState(models.TextChoices):
    WAITING = "waiting", pgettext_lazy("request", "waiting")
    FETCHED = "fetched", pgettext_lazy("request", "fetched")
    DONE = "done", pgettext_lazy("request", "done")
    REFUSED = "refused", pgettext_lazy("request", "refused")
    EXPIRED = "expired", pgettext_lazy("request", "expired")


class ReviewState(models.TextChoices):
    NONE = "", pgettext_lazy("review", "none")
    NEEDS_ANALYSIS = "needs_analysis", pgettext_lazy("review", "needs analysis")
    ONGOING = "ongoing", pgettext_lazy("review", "ongoing")
    DONE = "done", pgettext_lazy("review", "done")


class Assessment(models.TextChoices):
    """What somebody found a run to be."""

    NONE = "", pgettext_lazy("assessment", "none yet")
    OK = "ok", pgettext_lazy("assessment", "ok")
    NOT_OK = "not_ok", pgettext_lazy("assessment", "not ok")
    ISSUE = "issue", pgettext_lazy("assessment", "known issue")
    OTHER = "other", pgettext_lazy("assessment", "other")
    OBSOLETE = "obsolete", pgettext_lazy("assessment", "obsolete")


class DeployAction(models.TextChoices):
    DEPLOY = "deploy", pgettext_lazy("deploy", "deploy")
    ROLLBACK = "rollback", pgettext_lazy("deploy", "rollback")
    RETURN = "return", pgettext_lazy("deploy", "return")


class DeployStatus(models.TextChoices):
    SUCCEEDED = "succeeded", pgettext_lazy("deploy", "succeeded")
    FAILED = "failed", pgettext_lazy("deploy", "failed")
    RETURNED = "returned", pgettext_lazy("deploy", "returned")


class Role(models.TextChoices):
    """What somebody may do; each of them also what those before it may."""

    VIEWER = "viewer", _("viewer")
    REVIEWER = "reviewer", _("reviewer")
    OPERATOR = "operator", _("operator")
    ADMINISTRATOR = "administrator", _("administrator")


class People(BaseUserManager["Person"]):
    def get_queryset(self) -> "models.QuerySet[Person]":
        return super().get_queryset().annotate(**packs.of_people())

    def create_user(self, email: str, password: str | None, *, name: str, role: str = Role.VIEWER) -> "Person":
        """Return a new person; without a password nobody can log in as them."""
        person = self.model(email=email.strip().lower(), name=name, role=role)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def get_by_natural_key(self, username: str | None) -> "Person":
        return self.get(email=(username or "").strip().lower())


class Person(AbstractBaseUser):
    """Somebody who may log in."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200)
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.VIEWER)
    is_active = models.BooleanField(default=True)
    created = models.DateTimeField(auto_now_add=True)
    language = models.CharField(max_length=10, blank=True, default="", db_default="")
    time_zone = models.CharField(max_length=64, blank=True, default="", db_default="")
    subject = models.CharField(max_length=255, null=True, unique=True)  # noqa: DJ001  many have none, and it is unique
    """By which name the identity provider knows this person, for good; None where it has never said so."""

    objects: ClassVar[People] = People()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return self.name or self.email

    def may(self, role: Role) -> bool:
        """Whether this person may do what people of that role may."""
        ranks = list(Role)
        return ranks.index(Role(self.role)) >= ranks.index(role)

    @property
    def may_review(self) -> bool:
        return self.may(Role.REVIEWER)

    @property
    def may_operate(self) -> bool:
        return self.may(Role.OPERATOR)

    @property
    def may_administer(self) -> bool:
        return self.may(Role.ADMINISTRATOR)


class LoginFailure(models.Model):
    """One refused login, kept for an hour so that guessing can be slowed down."""

    address = models.CharField(max_length=64)
    email = models.CharField(max_length=254)
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["address", "at"], name="login_failure_address"),
            models.Index(fields=["email", "at"], name="login_failure_email"),
            models.Index(fields=["at"], name="login_failure_at"),
        ]


class Host(models.Model):
    name = models.CharField(max_length=63, unique=True)
    environment = models.CharField(max_length=20, choices=Environment.choices, blank=True)
    last_contact = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Token(models.Model):
    """What a host proves itself with; only the SHA-256 of it is kept."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    revoked = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, related_name="+")
    """Who revoked it by hand: then the configuration does not make it valid again."""
    used = models.DateTimeField(null=True)


class Run(models.Model):
    """One execution of one task on one host; output and items lie in tables of their own, so that lists stay fast."""

    id = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="runs", db_index=False)
    environment = models.CharField(max_length=20, choices=Environment.choices)
    task = models.CharField(max_length=200)
    pack = models.CharField(max_length=100, blank=True)
    slot = models.DateTimeField(null=True)
    trigger = models.CharField(max_length=20, choices=Trigger.choices)
    started = models.DateTimeField()
    ended = models.DateTimeField(null=True)
    status = models.CharField(max_length=20, choices=Status.choices)
    reason = models.CharField(max_length=2000, blank=True)
    exit_code = models.IntegerField(null=True)
    signal = models.IntegerField(null=True)
    duration = models.FloatField(null=True)
    cpu = models.FloatField(null=True)
    memory_peak = models.BigIntegerField(null=True)
    output_bytes = models.BigIntegerField(default=0)
    output_dropped = models.BigIntegerField(default=0)
    counts = models.JSONField(default=dict)
    boot_id = models.CharField(max_length=64, blank=True)
    invocation_id = models.CharField(max_length=64, blank=True)
    release = models.CharField(max_length=255, blank=True)
    unit_hash = models.CharField(max_length=128, blank=True)
    attempt = models.BigIntegerField(default=1)
    attended = models.BooleanField(default=False, db_default=False)
    asked_by = models.CharField(max_length=255, blank=True, default="", db_default="")
    parameters = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    dry_run = models.BooleanField(default=False, db_default=False)
    unexpected = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    retry_at = models.DateTimeField(null=True)
    received = models.DateTimeField()
    review = models.CharField(max_length=20, choices=ReviewState.choices, blank=True)
    assessment = models.CharField(max_length=20, choices=Assessment.choices, blank=True, default="", db_default="")
    failure = models.CharField(max_length=32, blank=True, default="", db_default="")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["-started", "-id"], name="run_started"),
            models.Index(fields=["environment", "-started", "-id"], name="run_environment"),
            models.Index(fields=["host", "-started", "-id"], name="run_host"),
            models.Index(fields=["task", "-started", "-id"], name="run_task"),
            models.Index(fields=["status", "-started", "-id"], name="run_status"),
            models.Index(
                fields=["task", "host", "-started"],
                condition=Q(review__in=["needs_analysis", "ongoing"]),
                name="run_unhandled",
            ),
            models.Index(fields=["host", "task", "-started", "-id"], name="run_host_task"),
            models.Index(
                fields=["host", "task", "-started", "-id"],
                condition=Q(status="succeeded", dry_run=False),
                name="run_good",
            ),
            models.Index(
                fields=["-started", "-id"],
                condition=Q(review__in=["needs_analysis", "ongoing"]),
                name="run_open",
            ),
            models.Index(fields=["review", "-started", "-id"], condition=~Q(review=""), name="run_review"),
            models.Index(fields=["-duration", "-id"], condition=Q(duration__isnull=False), name="run_length"),
            models.Index(
                fields=["task", "-duration", "-id"], condition=Q(duration__isnull=False), name="run_task_length"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} on {self.host}"

    @property
    def doubts(self) -> str:
        """What is suspicious about a success, in a line."""
        return "; ".join(map(in_words, self.unexpected))


class Output(models.Model):
    """What a run wrote: the head and the tail of it when it was long."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, primary_key=True, related_name="output")
    text = models.TextField()


class Item(models.Model):
    """One thing a run worked on."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="items", db_index=False)
    position = models.IntegerField()
    name = models.TextField()
    outcome = models.CharField(max_length=255, blank=True)
    message = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "position"], name="item_position")]


class Review(models.Model):
    """What a person said of a run at one moment; the newest one is the run's review.

    One that was said of an earlier run, and holds for this one too, names the run that it was carried from.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="reviews")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="reviews")
    at = models.DateTimeField()
    state = models.CharField(max_length=20, choices=ReviewState.choices)
    summary = models.TextField(blank=True)
    assessment = models.CharField(max_length=20, choices=Assessment.choices, blank=True, default="", db_default="")
    tags = models.CharField(max_length=1000, blank=True, default="", db_default="")
    carried_from = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")


class RunTag(models.Model):
    """A word that the newest review of a run marks it with; `started` is the run's, so that lists need no other."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tags", db_index=False)
    name = models.CharField(max_length=50)
    started = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "name"], name="tag_once")]
        indexes: ClassVar = [models.Index(fields=["name", "-started", "-run"], name="tag_started")]


class Deploy(models.Model):
    """One release put on one host, or taken back."""

    id = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="deploys", db_index=False)
    environment = models.CharField(max_length=20, choices=Environment.choices)
    action = models.CharField(max_length=20, choices=DeployAction.choices)
    release = models.CharField(max_length=255)
    commit = models.CharField(max_length=64, blank=True)
    ref = models.CharField(max_length=255, blank=True)
    who = models.CharField(max_length=200, blank=True)
    started = models.DateTimeField()
    ended = models.DateTimeField(null=True)
    duration = models.FloatField(null=True)
    status = models.CharField(max_length=20, choices=DeployStatus.choices)
    reason = models.CharField(max_length=2000, blank=True)
    previous = models.CharField(max_length=255, blank=True)
    received = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["-started", "-id"], name="deploy_started"),
            models.Index(fields=["host", "-started", "-id"], name="deploy_host"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.release} on {self.host}"


class Outbound(models.Model):
    """Something that would have left the estate, had its host been production's.

    `run` is no reference: the run may come later than this, or be gone earlier. `to` has a receiver on each line.
    """

    id = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="outbound", db_index=False)
    environment = models.CharField(max_length=20, choices=Environment.choices)
    at = models.DateTimeField()
    task = models.CharField(max_length=200, blank=True)
    run = models.UUIDField(null=True)
    means = models.CharField(max_length=32)
    to = models.TextField()
    subject = models.CharField(max_length=2000, blank=True)
    text = models.TextField(blank=True)
    received = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["-at", "-id"], name="outbound_at"),
            models.Index(fields=["environment", "-at", "-id"], name="outbound_environment"),
            models.Index(fields=["host", "-at", "-id"], name="outbound_host"),
            models.Index(fields=["task", "-at", "-id"], name="outbound_task"),
            models.Index(fields=["means", "-at", "-id"], name="outbound_means"),
            models.Index(fields=["run"], name="outbound_run"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} from {self.host}"

    @property
    def receivers(self) -> list[str]:
        return self.to.split("\n")

    @property
    def more(self) -> int:
        """How many receivers there are besides the first."""
        return len(self.receivers) - 1


class Quarantine(models.Model):
    """A record the diary could not understand, kept with the reason; the same one is kept once."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="quarantined")
    record_id = models.CharField(max_length=64, blank=True)
    reason = models.TextField()
    body = models.TextField()
    digest = models.CharField(max_length=64)
    received = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "digest"], name="quarantine_once")]
        indexes: ClassVar = [models.Index(fields=["-received"], name="quarantine_received")]


class PersonToken(models.Model):
    """What a person's program proves itself with when it reads; only the SHA-256 of it is kept."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True)
    revoked = models.DateTimeField(null=True)


class LoginSession(AbstractBaseSession):
    """One browser in which somebody is logged in; without a person it is one that has yet to log in."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True, related_name="sessions")
    created = models.DateTimeField()
    seen = models.DateTimeField()
    address = models.CharField(max_length=64, blank=True)
    agent = models.CharField(max_length=300, blank=True)

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        # Imported here because the store needs this module.
        from rota.diary.sessions import SessionStore

        return SessionStore


class Invitation(models.Model):
    """A link with which its person sets a password, once; only the SHA-256 of it is kept."""

    person = models.OneToOneField(Person, on_delete=models.CASCADE, primary_key=True, related_name="invitation")
    digest = models.CharField(max_length=64, unique=True)
    made = models.DateTimeField()
    expires = models.DateTimeField()


class AuditEntry(models.Model):
    """One change that somebody made, or was refused; nothing ever changes it."""

    at = models.DateTimeField()
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    who = models.CharField(max_length=254, blank=True)
    address = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=100)
    subject_kind = models.CharField(max_length=50, blank=True)
    subject_id = models.CharField(max_length=255, blank=True)
    subject_name = models.CharField(max_length=255, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["action", "-id"], name="audit_action"),
            models.Index(fields=["who", "-id"], name="audit_who"),
            models.Index(fields=["subject_kind", "subject_id", "-id"], name="audit_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.who}: {self.action} {self.subject_name}"


class WordsField(models.Field):  # type: ignore[type-arg]  # it takes none when it runs
    """What a database's full-text index is made of: a tsvector, or the text compressed."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "tsvector" if connection.vendor == "postgresql" else "blob"


class Words(models.Model):
    """The place of a run, or of what was caught, in the full-text index; searching/index.py says what a key is."""

    key = models.BigIntegerField(primary_key=True)
    run_id = models.UUIDField(unique=True)
    words = WordsField()


class Mark(models.Model):
    """How far a work got that goes on in batches."""

    name = models.CharField(max_length=40, primary_key=True)
    value = models.CharField(max_length=100)


class SavedSearch(models.Model):
    """A list of runs that somebody wants to see again, as its address asks for it; a shared one is for everybody."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="searches")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000)
    is_shared = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["person", "name"], name="search_name")]


class Tally(models.Model):
    """How many runs of a task that began on a day (in UTC) ended so on a host, and their seconds together.

    It says what happened: runs that are kept no longer stay counted. `beside` of them count for nothing, as trials and
    attempts that another followed; `missed` counts slots, of those that were skipped, which should have run.
    """

    day = models.DateField()
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="tallies", db_index=False)
    task = models.CharField(max_length=200)
    status = models.CharField(max_length=20, choices=Status.choices)
    runs = models.BigIntegerField()
    seconds = models.FloatField()
    beside = models.BigIntegerField(default=0, db_default=0)
    missed = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["day", "host", "task", "status"], name="tally_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["task", "day"], name="tally_task")]


class Catalogue(models.Model):
    """All tasks of a host as they were from `since` on, under one release; `last` is when it was told last."""

    id = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="catalogues", db_index=False)
    digest = models.CharField(max_length=64)
    release = models.CharField(max_length=255, blank=True)
    is_asking = models.BooleanField(default=False)
    since = models.DateTimeField()
    last = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["host", "-since", "-id"], name="catalogue_host")]

    def __str__(self) -> str:
        return f"the tasks of {self.host}"


class TaskDefinition(models.Model):
    """What a task of a host was from `since` until `until`, None while it still is; `release` is what it came with."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="definitions", db_index=False)
    task = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    definition = models.JSONField()
    release = models.CharField(max_length=255, blank=True)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["host", "task"], condition=Q(until=None), name="definition_in_force")
        ]
        indexes: ClassVar = [models.Index(fields=["host", "task", "-since"], name="definition_of_task")]

    def __str__(self) -> str:
        return f"{self.task} on {self.host}"


class TaskUnit(models.Model):
    """How the unit of a task with this hash confined it: lines as systemd reads them."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="units", db_index=False)
    task = models.CharField(max_length=64)
    hash = models.CharField(max_length=128)
    exposure = models.FloatField()
    hardening = models.JSONField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "task", "hash"], name="unit_of_task")]

    def __str__(self) -> str:
        return f"the unit {self.hash} of {self.task} on {self.host}"


class TaskPause(models.Model):
    """A pause in force on a host, as its newest catalogue tells it."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="pauses", db_index=False)
    task = models.CharField(max_length=64)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    by = models.CharField(max_length=2000, blank=True)
    reason = models.CharField(max_length=2000, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "task"], name="pause_of_task")]

    def __str__(self) -> str:
        return f"a pause of {self.task} on {self.host}"


class TaskStanding(models.Model):
    """How a task of a host stands, brought up to date with each record: its latest runs, what is due, what is missing.

    `timing` is when it runs by itself, as the newest catalogue tells it, and `coming` are its next slots in seconds
    since 1970. Of them `due` is the first of which no record speaks; its run is late from `late` on. `missing` is the
    first slot since the latest run that did not run, and `why` the reason. `median` and `p95` are the usual seconds of
    its good runs.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="standings", db_index=False)
    task = models.CharField(max_length=200)
    standing = models.JSONField(default=dict)
    timing = models.JSONField(null=True)
    coming = models.JSONField(default=list)
    due = models.DateTimeField(null=True)
    late = models.DateTimeField(null=True)
    missing = models.DateTimeField(null=True)
    why = models.CharField(max_length=2000, blank=True)
    median = models.FloatField(null=True)
    p95 = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "task"], name="standing_of_task")]
        indexes: ClassVar = [
            models.Index(fields=["late"], name="standing_late"),
            models.Index(fields=["due"], name="standing_due"),
            models.Index(fields=["missing"], condition=Q(missing__isnull=False), name="standing_missing"),
        ]

    def __str__(self) -> str:
        return f"how {self.task} stands on {self.host}"


class HostRequest(models.Model):
    """What somebody asks of a host, which fetches it itself; its id is that of the run which comes of it.

    `values` are pairs of a parameter's name and a word. One that waits when it `expires` is not handed out any more.
    """

    id = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="requests", db_index=False)
    task = models.CharField(max_length=64)
    action = models.CharField(max_length=20, choices=Action.choices)
    values = models.JSONField(default=list)
    is_dry_run = models.BooleanField(default=False)
    until = models.DateTimeField(null=True)
    why = models.CharField(max_length=200, blank=True)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="requests")
    asked_by = models.CharField(max_length=254)
    asked = models.DateTimeField()
    expires = models.DateTimeField()
    state = models.CharField(max_length=20, choices=RequestState.choices, default=RequestState.WAITING)
    fetched = models.DateTimeField(null=True)
    answered = models.DateTimeField(null=True)
    reason = models.CharField(max_length=2000, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["host", "task", "-asked"], name="request_of_task"),
            models.Index(fields=["host", "expires"], condition=Q(state="waiting"), name="request_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.task} on {self.host}"


class Attention(models.Model):
    """Until when somebody is likely to want something of a host, which then looks more often."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, primary_key=True, related_name="attention")
    until = models.DateTimeField()


class Live(models.Model):
    """What is known of a run under way that somebody follows; it is gone when the run's record has come.

    `output_position` and `report_position` are how far the host has told of its files, `length` how many characters of
    output that is, and `lines` how many lines. `items` are the latest ones, `revision` grows with what is reported.
    """

    run = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="live", db_index=False)
    watched = models.DateTimeField()
    output_position = models.BigIntegerField(default=0)
    report_position = models.BigIntegerField(default=0)
    length = models.BigIntegerField(default=0)
    lines = models.BigIntegerField(default=0)
    counts = models.JSONField(default=dict)
    items = models.JSONField(default=list)
    item_amount = models.BigIntegerField(default=0)
    revision = models.BigIntegerField(default=0)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["host", "watched"], name="live_of_host")]

    def __str__(self) -> str:
        return f"run {self.run} on {self.host}"


class LivePart(models.Model):
    """Some lines of a followed run's output: the characters from `start` on, the first in this `line`."""

    run = models.UUIDField()
    start = models.BigIntegerField()
    line = models.BigIntegerField()
    text = models.TextField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "start"], name="live_part")]

    def __str__(self) -> str:
        return f"{len(self.text)} characters of run {self.run}"
