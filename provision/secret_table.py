"""The one table of secrets: which variable is in which vaults, what it is for, how it is made."""

import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from provision.inventory import ENVIRONMENTS, Inventory, read_yaml

SUPPLIED = "supplied by you: "
ALL = "all"
UNMISTAKABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # no letters or digits that look alike


@dataclass(frozen=True)
class Circumstances:
    """What a secret may depend on: the estate, the vault it is for, the connections, what that vault holds already."""

    inventory: Inventory
    group: str
    connections: Mapping[str, Any]
    present: Mapping[str, Any]
    now: datetime

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts whose variables this vault holds."""
        return self.inventory.all_hosts if self.group == ALL else self.inventory.hosts(self.group)

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses under which these hosts are reached, none twice."""
        addresses = [str(self.connections.get(host, {}).get("address", SUPPLIED)) for host in self.hosts]
        known = [address for address in addresses if not is_placeholder(address)]
        return tuple(dict.fromkeys([*self.hosts, *known, *self.public_names]))

    @property
    def public_names(self) -> tuple[str, ...]:
        """What `web_public_names` of the environment says: the names that visitors know."""
        path = self.inventory.folder / "group_vars" / self.group / "main.yml"
        names = (read_yaml(path) or {}).get("web_public_names") if path.exists() else None
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    @property
    def canonical_names(self) -> tuple[str, ...]:
        """The names by which deploys and the other hosts ask: the first public one, else each host's own."""
        return self.public_names[:1] or self.hosts


@dataclass(frozen=True)
class Secret:
    """One variable that lives in vaults.

    `keep_up` turns a present value into one that fits the hosts there are now; without it a value stays as it is.
    `shared` says that all its vaults hold one value; `fixed` says why it cannot be replaced by a new one at will.
    """

    variable: str
    groups: tuple[str, ...]
    meaning: str
    make: Callable[[Circumstances], Any]
    keep_up: Callable[[Circumstances], Any] | None = None
    shared: bool = False
    fixed: str = ""


def token(_: Circumstances) -> str:
    """256 random bits, in letters that no file format or template gives a meaning."""
    return random.token_hex(32)


def password(_: Circumstances) -> str:
    """About 119 random bits that can be read aloud."""
    return "-".join("".join(random.choice(UNMISTAKABLE) for _ in range(6)) for _ in range(4))


def nothing(_: Circumstances) -> str:
    """What most estates need."""
    return ""


def no_urls(_: Circumstances) -> dict[str, str]:
    """What most estates begin with."""
    return {}


def django_key(_: Circumstances) -> str:
    """A key as Django wants it: at least 50 characters."""
    return random.token_urlsafe(48)


def host_tokens(circumstances: Circumstances) -> dict[str, str]:
    """A token for every host; those of hosts that are no more are gone, and with them their right."""
    present = circumstances.present.get("agent_diary_tokens") or {}
    return {host: present.get(host) or random.token_hex(32) for host in circumstances.hosts}


def web_key(_: Circumstances) -> str:
    """The private key of the environment's certificate."""
    from provision.certificate import make_key

    return make_key()


def web_certificate(circumstances: Circumstances) -> str:
    """A self-signed certificate of the key in the same vault, good for the environment's hosts."""
    from provision.certificate import make_certificate

    return make_certificate(str(circumstances.present["web_key"]), circumstances.names, circumstances.now)


def certificate_for_all_hosts(circumstances: Circumstances) -> str:
    """The present certificate, or, when it is one of ours and a host has come, a new one of the same key."""
    from provision.certificate import inspect

    present = str(circumstances.present["web_certificate"])
    try:
        certificate = inspect(present)
    except ValueError:
        return present  # `check` says so; what cannot be read was not made here
    if not certificate.ours or certificate.names.issuperset(circumstances.names):
        return present
    return web_certificate(circumstances)


def ssh_connections(circumstances: Circumstances) -> dict[str, Any]:
    """The connections as they were gathered, from the vault and from hosts.yml."""
    return dict(circumstances.connections)


def form_to_fill_in(host: str, environment: str) -> dict[str, Any]:
    """The connection of a host of which nothing but the name is known."""
    form = {"address": f"{SUPPLIED}the address of {host}", "port": 22, "user": f"{SUPPLIED}the user on {host}"}
    return form if environment == host else {**form, "environment": environment}


WEB = ("development", "staging", "production")

# In this order they are made: a certificate comes after its key.
TABLE = (
    Secret(
        "ssh_connections",
        (ALL,),
        "address, port and user of every host: the one place where a host is added",
        ssh_connections,
        keep_up=ssh_connections,
        fixed="edit it with `fab secrets.edit all`",
    ),
    Secret(
        "agent_diary_tokens",
        (ALL,),
        "what each host shows the diary when it sends records",
        host_tokens,
        keep_up=host_tokens,
    ),
    Secret("diary_secret_key", WEB, "signs the diary's sessions", django_key),
    Secret(
        "diary_admin_password",
        WEB,
        "the first password of the diary's administrators",
        password,
        fixed="it is looked at once, when the diary makes an administrator; from then on it is changed in the diary",
    ),
    Secret(
        "diary_oidc_secret",
        ("production",),
        "the diary's secret at the OpenID Connect provider; empty where there is no provider, or it gives none",
        nothing,
        fixed="the provider gives a new one; `fab secrets.edit production`",
    ),
    Secret("web_key", WEB, "the private key of the web server", web_key),
    Secret(
        "web_certificate",
        WEB,
        "the certificate of the web server; your own may stand here",
        web_certificate,
        keep_up=certificate_for_all_hosts,
    ),
    Secret(
        "agent_alert_password",
        ("production", "backup"),
        "the password at the mail server for alerts; empty where it asks for none",
        nothing,
        shared=True,
        fixed="whoever runs the mail server gives a new one; `fab secrets.edit production`, and the same for backup",
    ),
    Secret(
        "agent_alert_urls",
        ("production", "backup"),
        "the URL of each chat, text message service or webhook that alerts go to, and of each heartbeat, by name",
        no_urls,
        shared=True,
        fixed="whoever runs the channel gives a new URL; `fab secrets.edit production`, and the same for backup",
    ),
    Secret(
        "logs_geoip_account",
        ("production",),
        "the account and licence key for MaxMind's databases, as ID:KEY; empty where none are fetched",
        nothing,
        fixed="MaxMind gives out a new licence key; `fab secrets.edit production`",
    ),
    Secret(
        "backup_passphrase",
        ("production", "backup"),
        "opens the backups; without it they are lost, so keep a copy on paper",
        token,
        shared=True,
        fixed="the store is encrypted with it; docs/secrets.md says how to change both",
    ),
)


def declared(group: str) -> tuple[Secret, ...]:
    """The secrets of one vault, in the order in which they are made."""
    return tuple(secret for secret in TABLE if group in secret.groups)


def groups(inventory: Inventory) -> tuple[str, ...]:
    """The vaults an inventory should have: `all`, and one for each environment that has hosts and secrets."""
    return (ALL, *(one for one in ENVIRONMENTS if one in inventory.environments and declared(one)))


def is_placeholder(value: Any) -> bool:
    """Whether a value, or anything in it, still waits for somebody to supply it."""
    if isinstance(value, dict):
        return any(is_placeholder(inner) for inner in value.values())
    return isinstance(value, str) and value.startswith(SUPPLIED)
