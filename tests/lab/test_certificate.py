"""Certificates from an authority: fetched, shown, kept when it does not answer, and given up again."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import yaml

from provision import lab as labs
from provision.certificate import inspect, make_certificate, make_key
from provision.inventory import Inventory
from tests.agent.waiting import wait_until
from tests.lab.conftest import Fab
from tests.provision.test_converge import loaded
from tests.provision.test_roles import ROOT

pytestmark = pytest.mark.lab

HOST = "staging"
NAME = "diary.example.org"
FETCHED = "/etc/letsencrypt/live/rota/fullchain.pem"
SHOWN = "/etc/nginx/tls/certificate.pem"
HOOK = "/etc/letsencrypt/renewal-hooks/deploy/rota"
UNIT = "rota-acme.service"
SETTINGS = {"web_public_names": [NAME], "web_acme": True, "web_acme_directory": "https://localhost:14000/dir"}
# An authority for tests, of Debian: it looks for its challenge where a public one would, on port 80.
AUTHORITY = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/etc/pebble/certificate.pem",
    "privateKey": "/etc/pebble/key.pem",
    "httpPort": 80,
    "tlsPort": 443,
}


def provision(fab: Fab) -> str:
    return fab(HOST, "provision", "--tags", "ssh,web,diary").stdout


def write(lab: labs.Lab, path: str, text: str) -> None:
    lab.run(HOST, ["tee", path], input=text)


def read(lab: labs.Lab, path: str) -> str:
    return lab.run(HOST, ["cat", path]).stdout


def shown_by_nginx(lab: labs.Lab) -> str:
    """The certificate that a visitor of the canonical name is shown."""
    argv = ["openssl", "s_client", "-connect", f"{lab.hosts[HOST].address}:443", "-servername", NAME]
    asked = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30)
    first = asked.stdout.partition("-----END CERTIFICATE-----\n")
    return "-----BEGIN" + first[0].partition("-----BEGIN")[2] + first[1]


@pytest.fixture(scope="module")
def vaults(provisioned: labs.Lab) -> str:
    """The certificate from the vault, which the host has shown until now."""
    return read(provisioned, SHOWN)


@pytest.fixture(scope="module")
def estate(provisioned: labs.Lab, inventory: Inventory, vaults: str, fab: Fab) -> Iterator[labs.Lab]:
    """The host trusts its authority, which is installed and silent; in the end nothing of it is left."""
    key = make_key()
    trusted = "/usr/local/share/ca-certificates/pebble.crt"
    settings = inventory.folder / "group_vars" / HOST / "acme.yml"
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"]
    provisioned.run(HOST, [*quiet, "install", "pebble"])
    provisioned.run(HOST, ["mkdir", "-p", "/etc/pebble"])
    certificate = make_certificate(key, ["localhost"], datetime.now(UTC))
    for path, text in (
        (AUTHORITY["certificate"], certificate),
        (AUTHORITY["privateKey"], key),
        (trusted, certificate),
        ("/etc/pebble/config.json", json.dumps({"pebble": AUTHORITY})),
    ):
        write(provisioned, str(path), text)
    provisioned.run(HOST, ["update-ca-certificates"])
    settings.write_text(yaml.safe_dump(SETTINGS))
    try:
        yield provisioned
    finally:
        settings.unlink(missing_ok=True)
        provision(fab)
        provisioned.run(HOST, ["systemctl", "stop", "pebble.service"], check=False)
        provisioned.run(HOST, ["rm", "-rf", trusted, "/etc/pebble", "/etc/letsencrypt"])
        provisioned.run(HOST, [*quiet, "purge", "certbot", "pebble"])
        provisioned.run(HOST, ["update-ca-certificates", "--fresh"])


# The order matters: first nobody answers, then the authority does, then nobody asks it any more.


def test_an_authority_that_does_not_answer_hinders_no_provisioning(estate: labs.Lab, fab: Fab, vaults: str) -> None:
    provision(fab)
    wait_until(lambda: estate.run(HOST, ["systemctl", "is-failed", UNIT], check=False).returncode == 0, seconds=60)
    assert "localhost" in estate.run(HOST, ["journalctl", "--no-pager", f"--unit={UNIT}"]).stdout
    assert shown_by_nginx(estate) == vaults
    assert estate.run(HOST, ["systemctl", "is-active", "rota-acme.timer"]).stdout == "active\n"
    assert "The web server shows what was fetched" in fab(HOST, "verify", check=False).stdout


def test_what_the_next_try_fetches_is_shown(estate: labs.Lab, fab: Fab) -> None:
    environment = ["--setenv=PEBBLE_VA_NOSLEEP=1", "--setenv=PEBBLE_WFE_NONCEREJECT=0"]
    estate.run(HOST, ["systemd-run", "--unit=pebble", *environment, "pebble", "-config", "/etc/pebble/config.json"])
    ask = "import urllib.request; urllib.request.urlopen('https://localhost:14000/dir')"
    wait_until(lambda: estate.run(HOST, ["/usr/bin/python3", "-c", ask], check=False).returncode == 0, seconds=30)
    estate.run(HOST, ["systemctl", "start", UNIT])
    chain = read(estate, FETCHED)
    assert read(estate, SHOWN) == chain
    wait_until(lambda: inspect(shown_by_nginx(estate)).names == {NAME})  # nginx reloads beside its old workers
    assert chain.count("BEGIN CERTIFICATE") == 2
    fab(HOST, "verify")


def test_a_deploy_would_find_the_host_by_its_canonical_name(estate: labs.Lab) -> None:
    asking = loaded(ROOT / "provision/plugins/action/await_release.py")
    trust = asking.trust(read(estate, SHOWN))
    assert asking.serving(str(estate.hosts[HOST].address), 443, NAME, trust)[1].startswith(("200 ", "502 "))
    assert "mismatch" in asking.serving(str(estate.hosts[HOST].address), 443, HOST, trust)[1]


def test_with_what_was_fetched_another_provision_changes_nothing(estate: labs.Lab, fab: Fab) -> None:
    before = read(estate, SHOWN)
    assert " 0 changed" in provision(fab)
    assert read(estate, SHOWN) == before
    assert read(estate, "/etc/hosts").count(NAME) == 1


def test_what_was_fetched_before_is_taken_up_without_the_authority(estate: labs.Lab, fab: Fab, vaults: str) -> None:
    """As after a return to the vault's certificate, and back again; certbot itself fails, and leaves a failed unit."""
    write(estate, SHOWN, vaults)
    estate.run(HOST, ["systemctl", "stop", "pebble.service"])
    assert estate.run(HOST, ["systemctl", "start", UNIT], check=False).returncode != 0
    assert read(estate, SHOWN) == read(estate, FETCHED)


def test_back_with_the_vaults_certificate_nothing_of_acme_acts(
    estate: labs.Lab, inventory: Inventory, fab: Fab, vaults: str
) -> None:
    (inventory.folder / "group_vars" / HOST / "acme.yml").unlink()
    provision(fab)
    wait_until(lambda: shown_by_nginx(estate) == vaults)
    assert estate.run(HOST, ["test", "-e", HOOK], check=False).returncode == 1
    for unit in ("rota-acme.timer", UNIT):
        assert estate.run(HOST, ["systemctl", "is-active", unit], check=False).stdout == "inactive\n"
    assert estate.run(HOST, ["systemctl", "is-enabled", "rota-acme.timer"], check=False).stdout == "disabled\n"
    assert NAME not in read(estate, "/etc/hosts")
    assert " 0 changed" in provision(fab)
    fab(HOST, "verify")
