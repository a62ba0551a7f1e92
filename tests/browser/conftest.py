"""An embedded diary, served by its own command, and a headless Chromium to read it with."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
expect.set_options(timeout=30_000)  # milliseconds; a busy machine takes seconds for a login
SCREENSHOTS = ROOT / ".cache" / "screenshots"
EMAIL, PASSWORD = "reviewer@example.org", "a ledger of quiet nights"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """The folder with what package-lock.json names, installed once for each state of that file."""
    here = Path(__file__).parent
    lock = (here / "package-lock.json").read_bytes()
    folder = ROOT / ".cache" / f"npm-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "installed").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(here / name, folder)
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
        subprocess.run(install, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (folder / "installed").touch()
    return folder


@dataclass(frozen=True)
class Diary:
    address: str
    home: Path

    def run(self, *arguments: str, stdin: str = "") -> str:
        return run_diary(self.home, *arguments, stdin=stdin)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rota.diary.manage", *arguments]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ROTA_HOME": str(home), "PYTHONPATH": str(ROOT / "agent" / "src")}


def run_diary(home: Path, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        command(*arguments), env=environment(home), input=stdin, text=True, capture_output=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="session")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Diary]:
    """A diary with a month of made-up runs and one reviewer."""
    home = tmp_path_factory.mktemp("home")
    run_diary(home, "migrate", "--verbosity=0")
    run_diary(home, "seed", "--runs=600")
    run_diary(home, "createuser", EMAIL, "--name=Reviewer", "--role=reviewer", stdin=PASSWORD + "\n")
    with serve(home) as address:
        yield Diary(address, home)


@contextmanager
def serve(home: Path) -> Iterator[str]:
    """Serves the diary of this folder, as its command does; yields its address."""
    with subprocess.Popen(
        command("serve", "--port=0"), env=environment(home), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip().rstrip("/")
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session(chromium: Browser, diary: Diary) -> StorageState:
    """The cookies of the reviewer, who logged in once."""
    context = chromium.new_context(base_url=diary.address)
    page = context.new_page()
    log_in(page)
    cookies = context.storage_state()
    context.close()
    return cookies


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, diary: Diary, session: StorageState) -> Iterator[OpenPage]:
    """Opens a page of the diary, logged in unless told otherwise, in a browser of this width, scheme and abilities."""
    contexts = []

    def open_it(
        path: str = "/",
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        script: bool = True,
        log: bool = True,
    ) -> Page:
        context = chromium.new_context(
            base_url=diary.address,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            storage_state=session if log else None,
        )
        contexts.append(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield open_it
    for context in contexts:
        context.close()


def log_in(page: Page, email: str = EMAIL) -> None:
    page.goto("/login/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
