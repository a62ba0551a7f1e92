"""What templates of roles say in cases that the lab's hosts do not have."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.provision.test_converge import loaded
from tests.provision.test_roles import ROLES, ROOT, defaults

pytestmark = pytest.mark.usefixtures("ansible_plugins")


def rendered(name: str, **variables: Any) -> str:
    """roles/NAME as the host `web` gets it, with the roles' defaults and these variables."""
    declared = {name: value for role in ROLES for name, value in defaults(role).items()}
    known = {"inventory_hostname": "web", "ansible_managed": "written", **declared, **variables}
    text = trust_as_template((ROOT / "roles" / name).read_text())
    settings = {"trim_blocks": True, "lstrip_blocks": True}
    return str(Templar(DataLoader(), variables=known).template(text, overrides=settings))


def test_only_people_named_here_become_root_without_a_password() -> None:
    people = [
        {"name": "ada", "groups": ["sudo"]},
        {"name": "left", "groups": ["sudo"], "state": "absent"},
        {"name": "guest"},
    ]
    text = rendered("base/templates/sudoers.j2", base_operator="admin", base_users=people)
    freed = [line.split()[0] for line in text.splitlines() if "NOPASSWD" in line]
    assert freed == ["admin", "ada"]


def test_every_supported_system_has_its_version_of_postgresql() -> None:
    found = {name: value for role in ROLES for name, value in defaults(role).items()}
    systems = {f"{name} {version}" for name, versions in found["base_systems"].items() for version in versions}
    assert set(found["postgres_versions"]) == systems


def test_time_is_asked_of_whom_the_host_was_told_to_ask() -> None:
    firewall = "firewall/templates/nftables.conf.j2"
    assert "        udp dport 123 accept" in rendered(firewall)
    text = rendered(firewall, firewall_time_servers=["192.0.2.123", "2001:db8::123"])
    asked = [line.split("udp")[0].strip() for line in text.splitlines() if "udp dport 123" in line]
    assert asked == ["ip daddr 192.0.2.123", "ip6 daddr 2001:db8::123"]


def test_a_host_that_asks_only_itself_for_names_is_not_cut_off_from_them() -> None:
    firewall = "firewall/templates/nftables.conf.j2"
    text = rendered(firewall, firewall_resolvers=["127.0.0.53", "192.0.2.53"])
    assert [line.split()[2] for line in text.splitlines() if "dport 53 " in line] == ["192.0.2.53"]
    assert "dport 53 " not in rendered(firewall, firewall_resolvers=[])
    with pytest.raises(AnsibleError, match=r"web asks only itself for names \(127.0.0.53, ::1\); list in"):
        rendered(firewall, firewall_resolvers=["127.0.0.53", "::1"])
    rendered(firewall, firewall_restrict_outbound=False, firewall_resolvers=["127.0.0.53"])


def test_acme_without_a_public_name_is_refused() -> None:
    unit = "web/templates/acme.service.j2"
    assert "--domain diary.example.org" in rendered(unit, web_acme=True, web_public_names=["diary.example.org"])
    with pytest.raises(AnsibleError, match="set web_public_names"):
        rendered(unit, web_acme=True)


# -- facts


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = loaded(ROOT / "provision/plugins/modules/host_facts.py")
    monkeypatch.setattr(module, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(module, "UPLINK_RESOLV_CONF", tmp_path / "uplink.conf")
    return module


def test_resolvers_are_those_that_are_asked_beyond_the_host(facts: ModuleType, tmp_path: Path) -> None:
    assert facts.nameservers() == []
    (tmp_path / "uplink.conf").write_text("# systemd-resolved\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\nsearch example.org\n")
    assert facts.nameservers() == ["192.0.2.1"]
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0\n")
    assert facts.nameservers() == ["127.0.0.53", "192.0.2.53", "fe80::1"]
