"""What tests of roles and group_vars share."""

import pytest
from ansible.plugins.loader import filter_loader, init_plugin_loader

from tests.provision.test_roles import ROOT


@pytest.fixture(scope="session")
def ansible_plugins() -> None:
    """Ansible's filters and lookups and our own, in this process."""
    init_plugin_loader()
    filter_loader.add_directory(str(ROOT / "provision/plugins/filter"))
