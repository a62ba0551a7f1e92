"""The packs that have pages of their own: a Django app in `rota.packs.NAME.diary`, found and never named here."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.urls import URLPattern, URLResolver, include, path, reverse

if TYPE_CHECKING:  # settings read this module, and models cannot be imported yet
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models.expressions import Combinable


class PackConfig(AppConfig):
    """How a pack says what its app is: its `label` is the pack's name, and the namespace of its addresses.

    `entry` is the name of the address to which the navigation leads under the words `title`.
    """

    default_auto_field = "django.db.models.BigAutoField"
    title: Any = ""
    entry = ""

    def is_for(self, person: "AbstractBaseUser | AnonymousUser") -> bool:
        """Whether the navigation shows the pack to whoever reads; asked on every page, so without a query."""
        return True

    def of_people(self) -> "Mapping[str, Combinable]":
        """What is loaded with each person besides, by the name that it has there: so that `is_for` can know it."""
        return {}


@cache
def names() -> tuple[str, ...]:
    """The installed packs that have an app, by name."""
    packs = importlib.import_module("rota.packs")
    return tuple(
        module.name for module in pkgutil.iter_modules(packs.__path__) if module.ispkg and has(module.name, "apps")
    )


def has(pack: str, module: str) -> bool:
    """Whether the pack's app has this module; only its package is imported for that."""
    try:
        return importlib.util.find_spec(f"{package(pack)}.{module}") is not None
    except ModuleNotFoundError as error:
        if error.name != package(pack):
            raise
        return False


def package(pack: str) -> str:
    return f"rota.packs.{pack}.diary"


def installed_apps() -> list[str]:
    return [package(pack) for pack in names()]


def root_addresses() -> list[URLResolver]:
    """Addresses that packs have to have at the root, for others know them so; what the diary has itself comes first."""
    return [path("", include(f"{package(pack)}.root_urls")) for pack in names() if has(pack, "root_urls")]


def addresses() -> list[URLPattern | URLResolver]:
    """Each pack's pages, below its name."""
    return [path(f"{pack}/", include(f"{package(pack)}.urls")) for pack in names() if has(pack, "urls")]


def api_addresses() -> list[URLPattern | URLResolver]:
    """What each pack says to hosts and programs, below its name in the API."""
    return [path(f"api/v1/{pack}/", include(f"{package(pack)}.api_urls")) for pack in names() if has(pack, "api_urls")]


def of_people() -> "dict[str, Combinable]":
    """What all packs have loaded with each person."""
    configs = (config for config in apps.get_app_configs() if isinstance(config, PackConfig))
    return {name: value for config in configs for name, value in config.of_people().items()}


def entries(person: "AbstractBaseUser | AnonymousUser") -> Iterator[dict[str, Any]]:
    """What the navigation shows of packs to whoever reads: the title and address of each."""
    for config in apps.get_app_configs():
        if isinstance(config, PackConfig) and config.entry and config.is_for(person):
            yield {"title": config.title, "address": reverse(config.entry)}
