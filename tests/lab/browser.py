"""A person before the lab's diary: logs in and sends forms over real TLS, without a browser."""

import http.cookiejar
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request

from provision import lab as labs

NOT_FOUND = 404
PASSWORD = "a ledger of quiet nights"


class Browser:
    """One person of the diary on production, logged in."""

    def __init__(self, lab: labs.Lab, email: str, role: str) -> None:
        make = ["runuser", "-u", "rota-diary", "--", "rota-diary", "createuser", email, f"--role={role}"]
        lab.run("production", make, input=f"{PASSWORD}\n")
        context = ssl.create_default_context(cadata=lab.run("production", ["cat", "/etc/rota/diary.pem"]).stdout)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self.address = f"https://{lab.hosts['production'].address}"
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )
        self.post("/login/", page="/login/", username=email, password=PASSWORD)

    def get(self, path: str) -> str:
        with self.opener.open(self.address + path, timeout=30) as answer:
            return str(answer.read().decode())

    def find(self, path: str) -> str:
        """The page, or nothing where there is none of it yet."""
        try:
            return self.get(path)
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            return ""

    def post(self, path: str, *, page: str, **form: str | list[str]) -> str:
        """Send the form of this page. Returns the path of where it led to."""
        return self.send(path, page=page, **form)[0]

    def send(self, path: str, *, page: str, **form: str | list[str]) -> tuple[str, str]:
        """The same; returns the path and the page there."""
        shown = self.get(page)
        hidden = {name: found[1] for name in ("csrfmiddlewaretoken", "token") if (found := value_of(name, shown))}
        content = urllib.parse.urlencode({**hidden, **form}, doseq=True).encode()
        referer = {"Referer": self.address + page}
        question = urllib.request.Request(self.address + path, content, referer)  # noqa: S310 - the address is the lab's own
        with self.opener.open(question, timeout=30) as answer:
            return urllib.parse.urlsplit(answer.url).path, str(answer.read().decode())


def value_of(name: str, page: str) -> re.Match[str] | None:
    return re.search(rf'name="{name}" value="([^"]+)"', page)
