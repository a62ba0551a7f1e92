"""Django's settings, derived from the installation's configuration and the unit's credentials."""

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from rota.diary import packs
from rota.diary.configuration import Configuration, Engine, Form, load, read_credential, refuse_unknown

HERE = Path(__file__).resolve().parent
CONFIGURATION: Configuration = load(os.environ)
refuse_unknown("diary.packs", CONFIGURATION.packs, packs.names())
BEHIND_TLS = CONFIGURATION.form is not Form.EMBEDDED


def secret_key() -> str:
    """Return the unit's secret; the embedded form keeps one in its folder, anything else makes one that lasts
    as long as the process (so `rota-diary check` works without credentials, and nobody stays logged in by it)."""
    if key := read_credential(os.environ, "diary_secret_key"):
        return key
    if CONFIGURATION.home is not None:
        return kept_secret(CONFIGURATION.home / "diary_secret_key")
    return secrets.token_urlsafe(64)


def kept_secret(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text(encoding="ascii").strip()
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secrets.token_urlsafe(64))
    return file.read_text(encoding="ascii").strip()


def database_settings(configuration: Configuration) -> dict[str, Any]:
    database = configuration.database
    if database.engine is Engine.POSTGRESQL:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database.name,
            "HOST": database.host or "",
            "USER": database.user or "",
            "CONN_MAX_AGE": 300,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"connect_timeout": 5, "application_name": "rota-diary"},
        }
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": database.name,
        "CONN_MAX_AGE": 300,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
            "PRAGMA cache_size=-32000;",
        },
    }


DEBUG = False
SECRET_KEY = secret_key()
# The host asks its own diary for its health, on the probe's socket and through nginx, under these names.
ALLOWED_HOSTS = sorted({*CONFIGURATION.hosts, "localhost", "127.0.0.1"})

INSTALLED_APPS = [
    "rota.diary.apps.DiaryConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    *packs.installed_apps(),
]
MIDDLEWARE = [
    "rota.diary.visitor.notice_visitor",
    "django.middleware.security.SecurityMiddleware",
    "rota.diary.middleware.restrict_browser",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "rota.diary.proxy.ProxyLogin",
    "rota.diary.middleware.suit_reader",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "rota.diary.urls"
WSGI_APPLICATION = "rota.diary.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "rota.diary.middleware.diary_context",
            ],
            "builtins": ["django.templatetags.i18n", "django.templatetags.static", "rota.diary.templatetags.diary"],
        },
    }
]

DATABASES = {"default": database_settings(CONFIGURATION)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "diary.Person"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    *(["rota.diary.oidc.OidcBackend"] if CONFIGURATION.oidc else []),
    *(["rota.diary.proxy.ProxyBackend"] if CONFIGURATION.trusted_proxies else []),
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SESSION_ENGINE = "rota.diary.sessions"
SESSION_ENDS_AFTER = timedelta(hours=CONFIGURATION.session_hours)
SESSION_ENDS_UNUSED_AFTER = timedelta(hours=CONFIGURATION.session_idle_hours)
SESSION_COOKIE_AGE = int(SESSION_ENDS_AFTER.total_seconds())
SESSION_COOKIE_NAME = "__Host-rota-session" if BEHIND_TLS else "rota-session"
SESSION_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
KNOWN_COOKIE_NAME = "__Host-rota-known" if BEHIND_TLS else "rota-known"
OIDC_COOKIE_NAME = "__Host-rota-oidc" if BEHIND_TLS else "rota-oidc"
CSRF_COOKIE_NAME = "__Host-rota-csrf" if BEHIND_TLS else "rota-csrf"
CSRF_COOKIE_SECURE = BEHIND_TLS
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_SSL_REDIRECT = BEHIND_TLS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if BEHIND_TLS else 0
# For this name alone: whether an organisation's other names have TLS is not the diary's to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not BEHIND_TLS:
    # On 127.0.0.1 nothing travels; without a certificate HSTS, redirects to TLS and secure cookies would lock out.
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

USE_TZ = True
TIME_ZONE = CONFIGURATION.time_zone
USE_I18N = True
LANGUAGE_CODE = "en"
# Each calls itself as its own people do.
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français"), ("ru", "Русский")]

STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "rota.diary.assets.FingerprintedStorage"},
}
MEDIA_ROOT = str(CONFIGURATION.media or "")

# Everything goes to standard error, and so into the journal; gunicorn's own lines come the same way.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # forms; the ingest reads its body itself, with limits of its own
