"""The URLs of channels and heartbeats: a file of names, each with its URL, which is a secret."""

from pathlib import Path

import yaml

from rota.core.errors import RotaError


class UrlsUnreadable(RotaError):
    """The file of URLs cannot be used."""


def read_urls(path: Path) -> dict[str, str]:
    """The URLs by name; none where there is no such file. Raises UrlsUnreadable, which repeats nothing of its text."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UrlsUnreadable(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UrlsUnreadable(f"{path} is no YAML") from None
    if not isinstance(content, dict | None):
        raise UrlsUnreadable(f"{path} must be a mapping of names to URLs")
    return {str(name): url.strip() for name, url in (content or {}).items() if isinstance(url, str) and url.strip()}
