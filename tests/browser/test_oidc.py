"""Logging in at a real OpenID Connect provider, in a real browser."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.agent.neighbours import free_port
from tests.browser.conftest import command, environment, run_diary

pytestmark = pytest.mark.browser

PASSWORD = "a ledger of quiet nights"
CONFIGURATION = """
diary:
  oidc:
    issuer: http://127.0.0.1:{port}
    client: rota
    name: the library's accounts
    roles: {{operators: operator}}
"""


@pytest.fixture(scope="module")
def provider_program(npm_packages: Path) -> Path:
    """The provider beside the packages that it imports."""
    return Path(shutil.copy(Path(__file__).with_name("provider.js"), npm_packages))


@pytest.fixture(scope="module")
def address(provider_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A diary that knows the provider, beside that provider."""
    home = tmp_path_factory.mktemp("oidc")
    port, own = free_port(), free_port()
    (home / "diary.yml").write_text(CONFIGURATION.format(port=port))
    (home / "diary_oidc_secret").write_text("a secret between the two\n")
    run_diary(home, "migrate", "--verbosity=0")
    run_diary(home, "createuser", "reader@example.org", "--name=Reader", stdin=PASSWORD + "\n")
    back = f"http://127.0.0.1:{own}/login/oidc/back"
    node = ["node", str(provider_program), str(port), back]
    secrets = {**environment(home), "CREDENTIALS_DIRECTORY": str(home)}
    with (
        subprocess.Popen(node, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as provider,
        subprocess.Popen(command("serve", f"--port={own}"), env=secrets, stdout=subprocess.PIPE, text=True) as diary,
    ):
        try:
            assert provider.stdout is not None
            assert diary.stdout is not None
            assert "ready" in provider.stdout.readline()
            yield diary.stdout.readline().strip().rstrip("/")
        finally:
            diary.terminate()
            provider.terminate()


def test_somebody_logs_in_at_the_provider_and_is_known_by_their_email_address(chromium: Browser, address: str) -> None:
    context = chromium.new_context(base_url=address)
    page = context.new_page()
    page.goto("/runs/?status=failed")
    page.get_by_role("link", name="Log in with the library's accounts").click()
    page.locator("input[name=login]").fill("reader@example.org")
    page.locator("input[name=password]").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    assert page.url == f"{address}/runs/?status=failed"
    page.get_by_role("link", name="Reader").click()
    expect(page.get_by_text("reader@example.org · operator")).to_be_visible()
    context.close()


def test_somebody_new_is_admitted_by_a_group_and_may_what_it_says(chromium: Browser, address: str) -> None:
    context = chromium.new_context(base_url=address)
    page = context.new_page()
    page.goto("/login/oidc/")
    page.locator("input[name=login]").fill("newcomer@example.org")
    page.locator("input[name=password]").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("link", name="newcomer").click()
    expect(page.get_by_text("newcomer@example.org · operator")).to_be_visible()
    context.close()
