"""The laws of `converge`: what is described is so afterwards, and nothing else happened."""

import base64
import importlib.util
import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.provision.test_roles import ROOT, ansible

Converge = Callable[..., dict[str, Any]]


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def module() -> ModuleType:
    """The program that the action sends to hosts."""
    return loaded(ROOT / "provision/plugins/host/converge.py")


@pytest.fixture(scope="session")
def arguments() -> dict[str, Any]:
    """What a step may say."""
    found: dict[str, Any] = loaded(ROOT / "provision/plugins/modules/converge.py").ARGUMENTS
    return found


@pytest.fixture(autouse=True)
def no_notes_of_this_machine(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(module, "NOTES", tmp_path_factory.mktemp("state") / "notes")


@pytest.fixture
def converge(module: ModuleType, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Converge:
    """Checks a description as the action would, and runs the host's program in this process."""
    monkeypatch.setattr(module.syslog, "syslog", lambda _: None)

    def run(*, dry: bool = False, diff: bool = True, **described: Any) -> dict[str, Any]:
        files = [dict(entry) for entry in described.pop("files", [])]
        contents = {
            entry["path"]: base64.b64encode(entry.pop("content").encode()).decode()
            for entry in files
            if "content" in entry
        }
        validator: Any = ArgumentSpecValidator
        validated = validator(arguments).validate({**described, "files": files, "postgres": {}})
        if validated.error_messages:
            return {"failed": True, "msg": "; ".join(validated.error_messages)}
        parameters = {**validated.validated_parameters, "contents": contents}
        request = {"role": "tested", "described": parameters, "check": dry, "diff": diff}
        answer: dict[str, Any] = json.loads(json.dumps(module.answer_to(request)))
        return answer

    return run


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def everything(folder: Path) -> dict[str, tuple[float, bytes]]:
    """Every path below a folder with what could have changed about it."""
    return {
        str(path): (path.lstat().st_mtime, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    """One entry of every kind that needs no privilege."""
    return {
        "files": [
            {"path": str(tmp_path / "etc/a.conf"), "content": "one\n", "mode": "0640"},
            {"path": str(tmp_path / "credential"), "content": "hunter2-hunter2", "mode": "0600", "secret": True},
            {"path": str(tmp_path / "folder"), "state": "directory", "mode": "2750"},
            {"path": str(tmp_path / "link"), "state": "link", "target": "etc/a.conf"},
            {"path": str(tmp_path / "stale"), "state": "absent"},
        ],
        "keys": [{"path": str(tmp_path / "keys/purpose"), "comment": "purpose@host"}],
    }


def test_what_is_described_is_so_afterwards(converge: Converge, described: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "stale").write_text("old")
    answer = converge(**described)
    assert answer["changed"]
    assert (tmp_path / "etc/a.conf").read_text() == "one\n"
    assert mode_of(tmp_path / "etc/a.conf") == "0640"
    assert mode_of(tmp_path / "credential") == "0600"
    assert mode_of(tmp_path / "folder") == "2750"
    assert (tmp_path / "link").resolve() == tmp_path / "etc/a.conf"
    assert not (tmp_path / "stale").exists()
    assert mode_of(tmp_path / "keys/purpose") == "0600"
    key = answer["public_keys"][str(tmp_path / "keys/purpose")]
    assert key.startswith("ssh-ed25519 ")
    assert key.endswith("purpose@host")


def test_a_second_run_changes_nothing_at_all(converge: Converge, described: dict[str, Any], tmp_path: Path) -> None:
    first = converge(**described)
    before = everything(tmp_path)
    second = converge(**described)
    assert (second["changed"], second["changes"], second["diff"]) == (False, [], [])
    assert everything(tmp_path) == before
    assert second["public_keys"] == first["public_keys"]


def test_check_mode_tells_all_and_touches_nothing(
    converge: Converge, described: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "stale").write_text("old")
    before = everything(tmp_path)
    foretold = converge(dry=True, **described)
    assert everything(tmp_path) == before
    done = converge(**described)
    assert foretold["changes"] == done["changes"]


def test_a_diff_shows_both_sides(converge: Converge, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n")
    answer = converge(files=[{"path": str(tmp_path / "a"), "content": "two\n", "mode": "0644"}])
    assert (answer["diff"][0]["before"], answer["diff"][0]["after"]) == ("one\n", "two\n")


def test_without_a_wish_for_a_diff_there_is_none(converge: Converge, described: dict[str, Any]) -> None:
    assert converge(diff=False, **described)["diff"] == []


def test_a_secret_appears_nowhere_in_the_answer(converge: Converge, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "s"), "mode": "0600", "secret": True}
    converge(files=[{**entry, "content": "hunter2-before"}])
    answer = json.dumps(converge(files=[{**entry, "content": "hunter2-after", "validate": ["cat", "%s"]}]))
    assert "hunter2" not in answer
    assert base64.b64encode(b"hunter2-after").decode() not in answer


def test_a_refused_secret_is_not_shown_by_who_refused_it(converge: Converge, tmp_path: Path) -> None:
    refusing = ["sh", "-c", 'cat "$1" >&2; exit 1', "refuse", "%s"]
    entry = {"path": str(tmp_path / "s"), "content": "hunter2", "mode": "0600", "secret": True, "validate": refusing}
    answer = converge(files=[entry])
    assert answer["failed"]
    assert "hunter2" not in json.dumps(answer)


def test_a_refused_file_leaves_the_old_one(converge: Converge, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good\n")
    before = everything(tmp_path)
    entry = {"path": str(tmp_path / "a"), "content": "bad\n", "mode": "0644", "validate": ["grep", "good", "%s"]}
    answer = converge(files=[entry])
    assert "is refused" in answer["msg"]
    assert everything(tmp_path) == before


def test_a_candidate_is_validated_under_its_own_name_and_mode(converge: Converge, tmp_path: Path) -> None:
    script = 'test "${1##*/}" = x.service && test "$(stat -c %a "$1")" = 440'
    entry = {
        "path": str(tmp_path / "x.service"),
        "content": "text",
        "mode": "0440",
        "validate": ["sh", "-c", script, "validate", "%s"],
    }
    assert converge(files=[entry])["changed"]


def test_a_refused_whole_puts_every_file_back(converge: Converge, tmp_path: Path) -> None:
    (tmp_path / "changed").write_text("old\n")
    (tmp_path / "removed").write_text("old\n")
    (tmp_path / "moved").symlink_to("old")
    before = {name: value for name, (_, value) in everything(tmp_path).items()}
    answer = converge(
        files=[
            {"path": str(tmp_path / "changed"), "content": "new\n", "mode": "0644"},
            {"path": str(tmp_path / "deep/er/made"), "content": "new\n", "mode": "0644"},
            {"path": str(tmp_path / "removed"), "state": "absent"},
            {"path": str(tmp_path / "moved"), "state": "link", "target": "new"},
        ],
        check=[["true"], ["false"]],
    )
    assert "were put back" in answer["msg"]
    assert {name: value for name, (_, value) in everything(tmp_path).items()} == before
    assert (tmp_path / "moved").readlink() == Path("old")


def test_a_whole_that_nothing_changed_is_not_checked(converge: Converge, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "a"), "content": "x", "mode": "0644"}
    converge(files=[entry])
    assert not converge(files=[entry], check=[["false"]])["changed"]


def test_the_previous_file_is_kept_where_asked(converge: Converge, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "a"), "mode": "0644", "previous": True}
    converge(files=[{**entry, "content": "one"}])
    assert not (tmp_path / "a.previous").exists()
    converge(files=[{**entry, "content": "two"}])
    assert (tmp_path / "a.previous").read_text() == "one"


def test_a_file_made_once_is_left_to_whoever_changes_it(converge: Converge, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "a"), "mode": "0644", "once": True}
    converge(files=[{**entry, "content": "one"}])
    (tmp_path / "a").write_text("theirs")
    assert not converge(files=[{**entry, "content": "two"}])["changed"]


def test_a_mode_is_corrected_and_told(converge: Converge, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o666)
    answer = converge(files=[{"path": str(tmp_path / "a"), "content": "x", "mode": "0640"}])
    assert answer["changes"] == [f"{tmp_path}/a: mode 0666 → 0640"]


def test_a_directory_is_never_replaced_by_a_file_or_a_link(converge: Converge, tmp_path: Path) -> None:
    (tmp_path / "a/full").mkdir(parents=True)
    for entry in ({"content": "x", "mode": "0644"}, {"state": "link", "target": "b"}):
        assert converge(files=[{"path": str(tmp_path / "a"), **entry}])["failed"]
    assert (tmp_path / "a/full").is_dir()


def test_a_link_is_replaced_by_a_file_and_its_target_stays(converge: Converge, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "a").symlink_to("target")
    converge(files=[{"path": str(tmp_path / "a"), "content": "ours", "mode": "0644"}])
    assert (tmp_path / "target").read_text() == "theirs"
    assert not (tmp_path / "a").is_symlink()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder into which others may write, who have put links to a victim and to its file there."""
    (tmp_path / "victim").mkdir(mode=0o755)
    (tmp_path / "victim/file").write_text("theirs")
    (tmp_path / "victim/file").chmod(0o644)
    folder = tmp_path / "foreign"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "link").symlink_to(tmp_path / "victim")
    (folder / "relative").symlink_to("../victim")
    (folder / "second").hardlink_to(tmp_path / "victim/file")
    return folder


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "link", "state": "directory"},
        {"path": "relative", "state": "directory"},
        {"path": "link/deep/er", "state": "directory"},
        {"path": "link/file", "content": "ours"},
        {"path": "relative/file", "content": "theirs"},
        {"path": "link/new", "state": "link", "target": "anywhere"},
        {"path": "link/file", "state": "absent"},
        {"path": "second", "content": "theirs"},
    ],
    ids=lambda entry: f"{entry['path']}-{entry.get('state', 'file')}",
)
def test_root_follows_no_link_that_others_may_set(
    converge: Converge, foreign: Path, tmp_path: Path, entry: dict[str, Any]
) -> None:
    before, mode = everything(tmp_path), mode_of(tmp_path / "victim")
    answer = converge(files=[{"mode": "0700", **entry, "path": str(foreign / entry["path"])}])
    assert "link" in answer["msg"] or "second name" in answer["msg"]
    assert everything(tmp_path) == before
    assert (mode_of(tmp_path / "victim"), mode_of(tmp_path / "victim/file")) == (mode, "0644")


def test_a_link_set_while_root_is_at_work_leads_it_nowhere_else(
    converge: Converge, foreign: Path, tmp_path: Path
) -> None:
    """Whoever may write into the folder exchanges what is in it just before the file is put in place."""
    (foreign / ".ssh").mkdir()
    swap = f"mv {foreign}/.ssh {foreign}/old && ln -s {tmp_path}/victim {foreign}/.ssh"
    entry = {"path": str(foreign / ".ssh/authorized_keys"), "content": "ours", "mode": "0600"}
    converge(files=[{**entry, "validate": ["sh", "-c", swap, "swap", "%s"]}])
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["file"]
    assert (foreign / "old/authorized_keys").read_text() == "ours"


def test_a_link_in_a_folder_of_roots_alone_is_followed(
    converge: Converge, module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As /var/run and /bin are links."""
    monkeypatch.setattr(module, "is_ours_alone", lambda _: True)
    (tmp_path / "big/disk").mkdir(parents=True)
    (tmp_path / "link").symlink_to("big/../big/disk")
    (tmp_path / "turn").symlink_to("turn")
    converge(files=[{"path": str(tmp_path / "link/a"), "content": "x", "mode": "0644"}])
    assert (tmp_path / "big/disk/a").read_text() == "x"
    assert converge(files=[{"path": str(tmp_path / "turn/a"), "content": "x", "mode": "0644"}])["failed"]


def test_no_folder_stays_open(converge: Converge, foreign: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    converge(files=[{"path": str(foreign / "a/b/c"), "content": "x", "mode": "0644"}], check=[["false"]])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not (foreign / "a").exists()


def test_half_a_key_is_completed_and_a_key_is_never_replaced(converge: Converge, tmp_path: Path) -> None:
    keys = [{"path": str(tmp_path / "k")}]
    public = converge(keys=keys)["public_keys"][str(tmp_path / "k")]
    (tmp_path / "k.pub").unlink()
    again = converge(keys=keys)["public_keys"][str(tmp_path / "k")]
    assert again.split()[:2] == public.split()[:2]


def test_a_certificate_is_made_once_and_names_the_host(converge: Converge, tmp_path: Path) -> None:
    names = ["www.example.org", "192.0.2.1"]
    certificate = {"path": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem"), "names": names}
    assert converge(certificates=[certificate])["changed"]
    assert mode_of(tmp_path / "k.pem") == "0600"
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(tmp_path / "c.pem")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:www.example.org" in shown
    assert "IP Address:192.0.2.1" in shown
    assert not converge(certificates=[certificate])["changed"]


def test_a_certificate_about_to_expire_is_made_anew(converge: Converge, tmp_path: Path) -> None:
    certificate = {"path": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem"), "names": ["h"], "days": 20}
    converge(certificates=[certificate])
    assert converge(certificates=[certificate])["changed"]


@pytest.mark.parametrize(
    "files",
    [
        [{"path": "relative", "content": "x", "mode": "0644"}],
        [{"path": "/tmp/../etc/x", "content": "x", "mode": "0644"}],
        [{"path": "/FOLDER/a", "content": "x"}],
        [{"path": "/FOLDER/a", "content": "x", "mode": "0644", "onwer": "root"}],
        [{"path": "/FOLDER/a", "content": "x", "mode": "0644", "owner": "nobody-of-this-name"}],
        [{"path": "/FOLDER/a", "state": "link"}],
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(
    converge: Converge, tmp_path: Path, files: list[dict[str, Any]]
) -> None:
    placed = [{**entry, "path": entry["path"].replace("/FOLDER", str(tmp_path / "folder"))} for entry in files]
    assert converge(files=placed)["failed"]
    assert not (tmp_path / "folder").exists()


def test_an_unknown_owner_is_foretold_in_check_mode(converge: Converge, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "a"), "content": "x", "mode": "0644", "owner": "made-by-the-package"}
    assert converge(dry=True, files=[entry])["changes"] == [f"wrote {tmp_path}/a"]


# -- units, as sentences about what systemd shows


SHOWN = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "ConditionResult": "yes",
    "ConditionTimestamp": "Sun 2026-11-22 03:00:00.000000 UTC",
}
NAME = "x.service"


@pytest.fixture
def orders(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What systemd would be told about a unit, given what it shows of it."""

    def given(wished: dict[str, Any], touched: set[str] | None = None, **differing: str) -> list[str]:
        told: list[str] = []
        monkeypatch.setattr(module, "shown", lambda names: {name: {**SHOWN, **differing} for name in names})

        def tell(argv: list[str]) -> str:
            told.append(" ".join(argv[1:]))
            return ""

        monkeypatch.setattr(module, "output_of", tell)
        ledger = module.Ledger(False)
        ledger.touched = touched or set()
        blank: dict[str, Any] = {"enabled": None, "state": None, "restarted_by": [], "reloaded_by": []}
        module.converge_units([{**blank, "name": NAME, **wished}], ledger)
        return told

    return given


def test_a_unit_that_is_as_it_should_be_is_left_alone(orders: Callable[..., list[str]]) -> None:
    assert orders({"enabled": True, "state": "started", "restarted_by": ["/etc/x"]}) == []


def test_a_unit_restarts_when_its_file_was_written(orders: Callable[..., list[str]]) -> None:
    assert orders({"restarted_by": ["/etc/x"]}, {"/etc/x"}) == [f"restart -- {NAME}"]


def test_what_a_killed_run_had_changed_is_taken_up_by_the_next(
    converge: Converge, module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However it was killed, and whatever systemd still knows of the unit: it may have forgotten, or never run it."""
    told: list[str] = []

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def tell(argv: list[str]) -> str:
        told.append(" ".join(argv[1:]))
        return ""

    path = str(tmp_path / "x.conf")
    step: dict[str, Any] = {
        "files": [{"path": path, "content": "new", "mode": "0644"}],
        "units": [
            {"name": "net.timer", "restarted_by": [path]},
            {"name": NAME, "state": "started", "reloaded_by": [path]},
        ],
    }
    with monkeypatch.context() as killed:
        killed.setattr(module, "converge_units", die)
        with pytest.raises(KeyboardInterrupt):
            converge(**step)
    states = {"net.timer": "inactive", NAME: "active"}
    monkeypatch.setattr(module, "shown", lambda names: {one: {**SHOWN, "ActiveState": states[one]} for one in names})
    monkeypatch.setattr(module, "output_of", tell)
    foretold = converge(dry=True, **step)
    assert told == []
    assert converge(**step)["changes"] == foretold["changes"]
    assert told == ["restart -- net.timer", f"reload-or-restart -- {NAME}"]
    assert not converge(**step)["changed"]


def test_what_a_unit_refused_to_take_up_is_offered_again(
    converge: Converge, module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "x.conf")
    step: dict[str, Any] = {
        "files": [{"path": path, "content": "new", "mode": "0644"}],
        "units": [{"name": NAME, "restarted_by": [path]}],
    }
    monkeypatch.setattr(module, "shown", lambda names: dict.fromkeys(names, SHOWN))
    with monkeypatch.context() as refusing:
        refusing.setattr(module, "end_of_journal", lambda _: "")
        refusing.setattr(module, "output_of", lambda argv: (_ for _ in ()).throw(module.Failed("refused")))
        assert converge(**step)["failed"]
    monkeypatch.setattr(module, "output_of", lambda argv: "")
    assert converge(**step)["changes"] == [f"restarted {NAME}, for {path} changed"]


def test_systemd_reads_its_files_again_before_it_is_told_anything(orders: Callable[..., list[str]]) -> None:
    path = f"/etc/systemd/system/{NAME}"
    assert orders({"restarted_by": [path]}, {path}) == ["daemon-reload", f"restart -- {NAME}"]


def test_a_stopped_unit_is_not_started_by_a_file_it_would_reload(orders: Callable[..., list[str]]) -> None:
    assert orders({"reloaded_by": ["/etc/x"]}, {"/etc/x"}, ActiveState="inactive") == []
    assert orders({"state": "stopped", "restarted_by": ["/etc/x"]}, {"/etc/x"}, ActiveState="inactive") == []


def test_a_unit_that_is_to_be_stopped_is_not_failed_either(orders: Callable[..., list[str]]) -> None:
    assert orders({"state": "stopped"}, ActiveState="failed") == [f"reset-failed -- {NAME}"]
    assert orders({"state": "stopped"}, ActiveState="inactive") == []


def test_a_static_unit_counts_as_enabled(orders: Callable[..., list[str]]) -> None:
    assert orders({"enabled": True}, UnitFileState="static") == []
    assert orders({"enabled": True}, UnitFileState="disabled") == [f"enable -- {NAME}"]
    assert orders({"enabled": False}) == [f"disable -- {NAME}"]


def test_an_unknown_or_masked_unit_is_an_error(orders: Callable[..., list[str]], module: ModuleType) -> None:
    with pytest.raises(module.Failed, match="not known"):
        orders({"state": "started"}, LoadState="not-found")
    with pytest.raises(module.Failed, match="masked"):
        orders({"enabled": True}, UnitFileState="masked")


# -- the whole way, through a play


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {place: "%(place)s", word: "{{ inner }}", inner: hello, password: hunter2-hunter2}
  tasks:
    - converge:
        files:
          - {path: "{{ place }}/out/a", template: a.j2, mode: "0644"}
          - {path: "{{ place }}/out/b", source: b, mode: "0644"}
          - {path: "{{ place }}/out/s", content: "{{ password }}", mode: "0600", secret: true}
          - {path: "{{ place }}/out/not", content: "x", mode: "0644", when: "{{ 1 > 2 }}"}
"""


@pytest.fixture
def play(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "files").mkdir()
    lines = ["# {{ ansible_managed }}", "{% for _ in [1, 2] %}", "{{ word }}", "{% endfor %}", ""]
    (tmp_path / "templates/a.j2").write_text("\n".join(lines))
    (tmp_path / "files/b").write_bytes(b"{{ verbatim }}\x00\xff")
    (tmp_path / "play.yml").write_text(PLAY % {"place": tmp_path})
    return tmp_path / "play.yml"


def test_a_play_renders_copies_and_keeps_secrets_to_itself(play: Path) -> None:
    out = play.parent / "out"
    log = play.parent / "log"
    said = ansible("ansible-playbook", "-i", "localhost,", "-vvvv", "--diff", str(play), ANSIBLE_LOG_PATH=str(log))
    assert said.returncode == 0, said.stdout + said.stderr
    assert (out / "a").read_text().splitlines()[1:] == ["hello", "hello"]
    assert (out / "b").read_bytes() == b"{{ verbatim }}\x00\xff"
    assert (out / "s").read_text() == "hunter2-hunter2"
    assert not (out / "not").exists()
    everywhere = said.stdout + said.stderr + log.read_text()
    assert "+hello" in everywhere
    assert "hunter2" not in everywhere
    assert base64.b64encode(b"hunter2-hunter2").decode() not in everywhere


def test_a_misspelt_origin_is_named(play: Path) -> None:
    play.write_text(play.read_text().replace("template: a.j2", "tmplate: a.j2"))
    said = ansible("ansible-playbook", "-i", "localhost,", str(play))
    assert said.returncode == 2
    assert "a file takes exactly one of template, source, content" in said.stdout + said.stderr
