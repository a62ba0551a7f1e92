"""Sessions in the database: whose each is, from where, and its end: so long after its login, or so long unused."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.http import HttpRequest
from django.utils import timezone

from rota.diary import visitor
from rota.diary.models import LoginSession, Person

BEGAN, ADDRESS, AGENT = "began", "address", "agent"
NOTED_EVERY = timedelta(minutes=5)
"""How exactly a session's last use is known; a request writes no more often than that."""
BEFORE_LOGIN = timedelta(minutes=15)


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> type[LoginSession]:
        return LoginSession

    def create_model_instance(self, data: dict[str, Any]) -> LoginSession:
        """The row of this session; however often it is saved, it ends so long after its login."""
        now = timezone.now()
        began = datetime.fromtimestamp(data[BEGAN], UTC) if BEGAN in data else None
        return LoginSession(
            session_key=self._get_or_create_session_key(),  # type: ignore[attr-defined]  # the stubs leave it out
            session_data=self.encode(data),
            expire_date=began + settings.SESSION_ENDS_AFTER if began else now + BEFORE_LOGIN,
            person_id=data.get(SESSION_KEY),
            created=began or now,
            seen=now,
            address=data.get(ADDRESS, ""),
            agent=data.get(AGENT, ""),
        )

    def _get_session_from_db(self) -> LoginSession | None:
        found: LoginSession | None = super()._get_session_from_db()  # type: ignore[misc]  # the stubs leave it out
        now = timezone.now()
        if found is None:
            return None
        if now - found.seen > settings.SESSION_ENDS_UNUSED_AFTER:
            self._session_key = None
            return None
        if now - found.seen > NOTED_EVERY:
            LoginSession.objects.filter(pk=found.pk).update(seen=now)
        return found


def begin(request: HttpRequest, *, now: datetime) -> None:
    """Write into the session when and where it began."""
    asking = visitor.current.get()
    request.session[BEGAN] = now.timestamp()
    request.session[ADDRESS] = asking.address if asking else ""
    request.session[AGENT] = asking.agent if asking else ""


def end_all(person: Person, *, but: str | None = None) -> int:
    """End this person's sessions, but for the one with this key; returns how many there were."""
    return LoginSession.objects.filter(person=person).exclude(session_key=but or "").delete()[0]


def forget_ended(*, now: datetime) -> None:
    """Remove the sessions that nobody can use any more."""
    LoginSession.objects.filter(expire_date__lt=now).delete()
    LoginSession.objects.filter(seen__lt=now - settings.SESSION_ENDS_UNUSED_AFTER).delete()
