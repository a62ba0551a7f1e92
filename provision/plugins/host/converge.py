"""What one `converge` step does on a host: the action plugin sends this text and the description of the state.

Standard library only. It is no Ansible module on purpose: unpacking and compiling what a module brings along costs a
host three times what the step itself does.
"""

from __future__ import annotations

import base64
import fcntl
import fnmatch
import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import syslog
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

UNIT_FOLDERS = (
    "/etc/systemd/system/",
    "/etc/systemd/network/",
    "/usr/local/lib/systemd/system/",
    "/run/systemd/system/",
)
PACKAGE_LISTS = Path("/var/lib/apt/lists")
LISTS_FRESH_FOR = 24 * 3600  # seconds
APT_WAITS = 300  # seconds; a host's own unattended upgrade may hold the lock meanwhile
LARGEST_DIFF = 256 * 1024  # bytes
SHOWN = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,ConditionResult,ConditionTimestamp"
NOTES = Path("/var/lib/rota-converge")  # paths that were changed and that their units have not taken up yet


class Failed(Exception):
    """The host could not be brought to the described state."""


def output_of(argv, *, extra_environment=None):
    """What the command prints; Failed with its last words where it fails."""
    environment = {**os.environ, "LC_ALL": "C", **(extra_environment or {})}
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise Failed(f"{argv[0]} is not installed") from error
    if ended.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {(ended.stderr or ended.stdout).strip()[-2000:]}")
    return ended.stdout


class Ledger:
    """What was changed, what it looked like, and whether anything may be changed at all.

    What a run of the same role touched before it was killed, or before a unit refused, counts as touched by the next:
    it stands in the role's note from before it is changed until every unit has taken it up.
    """

    def __init__(self, check, role=None):
        self.check = check
        self.changes = []
        self.diffs = []
        self.note = NOTES / role if role else None
        self.touched = set(self.note.read_text().splitlines()) if self.note and self.note.exists() else set()
        self.undo = []
        self.held = []

    def touch(self, path):
        """To be told before the path is changed."""
        if path in self.touched:
            return
        self.touched.add(path)
        if self.note and not self.check:
            NOTES.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.note, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w") as note:
                note.write(f"{path}\n")
                note.flush()
                os.fsync(descriptor)

    def settle(self):
        """Every unit has taken up what was touched."""
        if self.note and not self.check:
            self.note.unlink(missing_ok=True)

    def close(self):
        """Lets go of the folders that were held open."""
        while self.held:
            os.close(self.held.pop())

    def add(self, sentence, diff=None):
        """Notes one change; without a diff of its own the sentence is the diff."""
        self.changes.append(sentence)
        self.diffs.append(diff or {"prepared": sentence + "\n"})


# Packages


def missing(packages):
    """Those dpkg does not call installed, in order."""
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    installed = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def lists_are_fresh():
    """Whether the package lists were fetched within a day."""
    fetched = [entry.stat().st_mtime for entry in PACKAGE_LISTS.glob("*_Packages*")]
    return bool(fetched) and time.time() - PACKAGE_LISTS.stat().st_mtime < LISTS_FRESH_FOR


@contextmanager
def seconds_at_most(seconds, what):
    """A deadline to wait within."""
    deadline = time.monotonic() + seconds

    def left():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s for {what}")
        return True

    yield left


def await_lists():
    """Waits until nobody else fetches package lists; apt-get itself would give up at once."""
    PACKAGE_LISTS.mkdir(parents=True, exist_ok=True)
    with (
        (PACKAGE_LISTS / "lock").open("a+b") as lock,
        seconds_at_most(APT_WAITS, "the lock of the package lists") as left,
    ):
        while left():
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.5)  # apt offers nothing to wait on


def refresh_lists():
    """Fetches the package lists, whoever else may be fetching them."""
    await_lists()
    output_of(["apt-get", "--quiet", "--error-on=any", "update"])


def install(packages):
    """Installs the packages without asking anybody anything."""
    quiet = {
        "DEBIAN_FRONTEND": "noninteractive",
        "NEEDRESTART_MODE": "a",
        "LC_ALL": "C.UTF-8",
        "UCF_FORCE_CONFFOLD": "1",
    }
    argv = ["apt-get", "--quiet", "--yes", "--no-install-recommends", "-o", f"DPkg::Lock::Timeout={APT_WAITS}"]
    argv += ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "install", *packages]
    fresh = lists_are_fresh()
    if not fresh:
        refresh_lists()
    try:
        output_of(argv, extra_environment=quiet)
    except Failed:
        if not fresh:
            raise
        refresh_lists()  # the archive may have moved on since the lists were fetched
        output_of(argv, extra_environment=quiet)


def converge_packages(packages, ledger):
    """Installs what is missing."""
    lacking = missing(packages) if packages else []
    if not lacking:
        return
    if not ledger.check:
        install(lacking)
    ledger.add(f"installed {', '.join(lacking)}")


# Users


def user_of(name):
    """The password entry, or None."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group_exists(name):
    """Whether the group is known."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def supplementary_groups(name):
    """The groups a user is listed in."""
    return {group.gr_name for group in grp.getgrall() if name in group.gr_mem}


def creation_of(user):
    """The command that makes the user."""
    argv = ["useradd"]
    if user["system"]:
        argv.append("--system")
    make_home = user["make_home"] if user["make_home"] is not None else not user["system"]
    argv.append("--create-home" if make_home else "--no-create-home")
    if user["group"]:
        argv += ["--gid", user["group"]]
    else:
        argv += ["--gid", user["name"]] if group_exists(user["name"]) else ["--user-group"]
    for option in ("home", "shell", "comment"):
        if user[option]:
            argv += [f"--{option if option != 'home' else 'home-dir'}", user[option]]
    return [*argv, user["name"]]


def correction_of(user, entry):
    """The command that brings an existing user to its description, or None where it is so already."""
    argv = ["usermod"]
    for option, flag, now in (
        ("home", "--home", entry.pw_dir),
        ("shell", "--shell", entry.pw_shell),
        ("comment", "--comment", entry.pw_gecos),
    ):
        if user[option] and user[option] != now:
            argv += [flag, user[option]]
    if user["group"] and (not group_exists(user["group"]) or grp.getgrnam(user["group"]).gr_gid != entry.pw_gid):
        argv += ["--gid", user["group"]]
    lacking = set(user["groups"]) - supplementary_groups(user["name"])
    surplus = supplementary_groups(user["name"]) - set(user["groups"]) if user["only_groups"] else set()
    if surplus:
        argv += ["--groups", ",".join(sorted(user["groups"]))]
    elif lacking:
        argv += ["--append", "--groups", ",".join(sorted(lacking))]
    return [*argv, user["name"]] if len(argv) > 1 else None


def make_groups(user, ledger):
    """Makes the groups the user is to be in."""
    for group in [*([user["group"]] if user["group"] else []), *user["groups"]]:
        if not group_exists(group):
            if not ledger.check:
                output_of(["groupadd", "--system", group])
            ledger.add(f"made the group {group}")


def converge_user(user, ledger):
    """Makes, corrects or removes one user; a user made here has no password."""
    entry = user_of(user["name"])
    if user["state"] == "absent":
        if entry is not None:
            if not ledger.check:
                output_of(["userdel", user["name"]])
            ledger.add(f"removed the user {user['name']}")
        return
    make_groups(user, ledger)
    if entry is None:
        if not ledger.check:
            output_of(creation_of(user))
            if user["groups"]:
                output_of(["usermod", "--append", "--groups", ",".join(user["groups"]), user["name"]])
        ledger.add(f"made the user {user['name']}")
        return
    correction = correction_of(user, entry)
    if correction is not None:
        if not ledger.check:
            output_of(correction)
        ledger.add(f"corrected the user {user['name']}: {' '.join(correction[1:-1])}")


def authorized_keys_of(user):
    """The entries for the folder and file of a user's authorized keys, and the file's content."""
    entry = user_of(user["name"])
    home = user["home"] or (entry.pw_dir if entry else f"/home/{user['name']}")
    owner = {"owner": user["name"], "group": entry and str(entry.pw_gid)}
    blank = dict.fromkeys(("target", "validate", "secret", "once", "previous"))
    folder = {**blank, **owner, "path": f"{home}/.ssh", "state": "directory", "mode": "0700"}
    keys = {**blank, **owner, "path": f"{home}/.ssh/authorized_keys", "state": "file", "mode": "0600"}
    return [folder, keys], "".join(key.strip() + "\n" for key in user["keys"])


# Files


def attributes_of(seen):
    """Mode, owner and group as numbers."""
    return stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid


def opened(path, flags=0):
    """A descriptor of what is at the path itself: no link is followed, nor a file taken for ours that others linked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    seen = os.fstat(descriptor)
    if is_held(path) and stat.S_ISREG(seen.st_mode) and seen.st_nlink > 1:
        os.close(descriptor)
        raise Failed(f"{path.name} has a second name, and stands where others may give one to any file")
    return descriptor


def content_of(path):
    """The content and the attributes of a regular file, or None where there is none."""
    if not stat.S_ISREG(mode_of(path)):
        return None
    with os.fdopen(opened(path), "rb") as handle:
        return handle.read(), attributes_of(os.fstat(handle.fileno()))


def mode_of(path):
    """Kind and mode of what is at the path itself, 0 where there is nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


# Where others may write, a link may be put in the way of whatever root is about to do, at any moment. So a folder on
# the way to which somebody else may write is held open without following any link, and named by its descriptor.

DESCRIPTORS = f"/proc/{os.getpid()}/fd"  # by number, so that programs that validate a candidate see it as well
LINKS_AT_MOST = 40


def is_held(path):
    """Whether the path leads over a descriptor: others may write on the way to it."""
    return str(path).startswith(DESCRIPTORS)


def held_at(descriptor):
    """The name of an open folder that leads nowhere else, whatever happens to its own."""
    return Path(DESCRIPTORS, str(descriptor))


def is_ours_alone(seen):
    """Whether nobody else may put anything into this folder."""
    return seen.st_uid in (0, os.geteuid()) and not seen.st_mode & 0o022


def secured(folder, ledger, links=0):
    """A path to the folder that leads nowhere else, whatever others do meanwhile.

    Folders on the way that nobody described are made: root's, and readable. In check mode the answer may name a folder
    that is still to be made.
    """
    where, alone = Path("/"), True
    for position, name in enumerate(folder.parts[1:], start=2):
        alone = alone and is_ours_alone(where.stat())
        step = where / name
        if stat.S_ISLNK(mode_of(step)):
            if not alone or links == LINKS_AT_MOST:
                at = Path(*folder.parts[:position])
                raise Failed(f"{at} is a link, and root follows no link that others may set")
            target = where / step.readlink()
            return secured(target.joinpath(*folder.parts[position:]), ledger, links + 1)
        if not mode_of(step):
            if ledger.check:
                return step.joinpath(*folder.parts[position:])
            make_parent(step, ledger)
        where = step if alone else hold(step, ledger)
    return hold(where, ledger) if alone and not is_ours_alone(where.stat()) else where


def hold(folder, ledger):
    """Keeps the folder open until the end of the step."""
    ledger.held.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
    return held_at(ledger.held[-1])


def make_parent(folder, ledger):
    """A folder that nobody described."""
    make_folder(folder, (0o755, -1, -1))
    ledger.undo.append(folder.rmdir)


def make_folder(path, wanted_attributes):
    """Makes a folder nobody else gets into before it is as wanted."""
    path.mkdir(mode=0o700)
    give(opened(path, os.O_DIRECTORY), wanted_attributes)


def give(descriptor, wanted_attributes):
    """Gives owner, group and mode to what is open, and closes it."""
    mode, uid, gid = wanted_attributes
    try:
        os.fchown(descriptor, uid, gid)
        if mode != -1:
            os.fchmod(descriptor, mode)  # after chown, which drops set-user-id bits
    finally:
        os.close(descriptor)


def number_of(name, lookup, kind, check):
    """The number of a user or group; in check mode None where it is still to be made."""
    if name is None:
        return -1
    if name.isdigit():
        return int(name)
    try:
        return lookup(name)
    except KeyError:
        if check:
            return None
        raise Failed(f"there is no {kind} {name}") from None


def described_attributes(entry, check):
    """Mode, owner and group asked for; -1 means whatever it is, None means not there yet."""
    if entry["mode"] is None and entry["state"] in ("file", "directory"):
        raise Failed(f"{entry['path']}: a {entry['state']} needs a mode")
    mode = int(entry["mode"], 8) if entry["mode"] is not None else -1
    return mode, *owner_of(entry, check)


def owner_of(entry, check):
    """Owner and group asked for, as numbers."""
    uid = number_of(entry["owner"], lambda name: pwd.getpwnam(name).pw_uid, "user", check)
    gid = number_of(entry["group"], lambda name: grp.getgrnam(name).gr_gid, "group", check)
    return uid, gid


def remove(path):
    """Removes whatever is at the path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def sync_folder(folder):
    """Makes a rename in the folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def written(path, content):
    """Writes and syncs a new file readable by its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(descriptor)


@contextmanager
def folder_beside(path, check):
    """A folder to write a candidate in under its final name; in check mode elsewhere, so that nothing is left."""
    folder = Path(tempfile.mkdtemp(prefix=".converge-", dir=None if check else path.parent))
    descriptor = opened(folder, os.O_DIRECTORY)
    try:
        if not is_ours_alone(os.fstat(descriptor)):
            raise Failed(f"somebody put a folder of their own in the way of {folder.name}")
        yield held_at(descriptor) if is_held(folder) else folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def validate(entry, candidate, check):
    """Asks the program itself; where it is to be installed only now, check mode cannot ask."""
    argv = [word.replace("%s", str(candidate)) for word in entry["validate"]]
    if check and shutil.which(argv[0]) is None:
        return
    try:
        output_of(argv)
    except Failed as failure:
        reason = "its content is secret, so are the reasons" if entry["secret"] else failure
        raise Failed(f"{entry['path']} is refused and was left as it is: {reason}") from None


def difference(entry, before, after):
    """The diff of one file; nothing of a secret one."""
    if entry["secret"]:
        return {"prepared": f"{entry['path']}: secret content differs\n"}
    if max(len(before or b""), len(after)) > LARGEST_DIFF:
        return {"prepared": f"{entry['path']}: content differs ({len(after)} bytes)\n"}
    try:
        texts = ((before or b"").decode(), after.decode())
    except UnicodeDecodeError:
        return {"prepared": f"{entry['path']}: binary content differs\n"}
    headers = {"before_header": entry["path"] if before is not None else "/dev/null", "after_header": entry["path"]}
    return {**headers, "before": texts[0], "after": texts[1]}


def place(entry, path, content, wanted_attributes, ledger):
    """Writes beside, gives the attributes, validates, keeps the previous one if asked, and renames."""
    with folder_beside(path, ledger.check) as folder:
        candidate = folder / path.name
        written(candidate, content)
        mode, uid, gid = wanted_attributes
        if not ledger.check:
            os.chown(candidate, uid, gid)
        candidate.chmod(mode)
        if entry["validate"]:
            validate(entry, candidate, ledger.check)
        ledger.touch(entry["path"])
        if ledger.check:
            return
        keep_for_undo(path, ledger)
        if entry["previous"]:
            keep_previous(path, folder)
        if path.is_dir() and not path.is_symlink():
            raise Failed(f"{entry['path']} is a directory where a file is to be")
        candidate.replace(path)
        sync_folder(path.parent)


def keep_previous(path, folder):
    """What is replaced stays as PATH.previous; nothing stays where there was nothing."""
    previous = path.with_name(f"{path.name}.previous")
    if path.exists():
        kept = folder / "previous"
        shutil.copy2(path, kept)
        kept.replace(previous)
    else:
        previous.unlink(missing_ok=True)


def keep_for_undo(path, ledger):
    """Remembers how to put a file back should a check of the whole refuse it."""
    if path.is_symlink():
        target = path.readlink()
        ledger.undo.append(lambda: point(path, target))
    elif (found := content_of(path)) is not None:
        ledger.undo.append(lambda: put_back(path, *found))
    elif not mode_of(path):
        ledger.undo.append(lambda: os.path.lexists(path) and remove(path))


def put_back(path, content, wanted_attributes):
    """What a file was before this step."""
    mode, uid, gid = wanted_attributes
    with folder_beside(path, check=False) as folder:
        candidate = folder / path.name
        written(candidate, content)
        os.chown(candidate, uid, gid)
        candidate.chmod(mode)
        candidate.replace(path)


def point(path, target):
    """Makes or moves a link atomically."""
    with folder_beside(path, check=False) as folder:
        candidate = folder / path.name
        candidate.symlink_to(target)
        candidate.replace(path)


def correct_attributes(entry, path, is_now, wanted_attributes, ledger):
    """Mode, owner and group of what is there already."""
    compared = zip(("mode", "owner", "group"), wanted_attributes, is_now, strict=True)
    differing = [(name, now) for name, wish, now in compared if wish not in (-1, now)]
    if not differing:
        return
    ledger.touch(entry["path"])
    if not ledger.check:
        give(opened(path), wanted_attributes)
    words = [f"{name} {show(name, now)} → {entry[name]}" for name, now in differing]
    ledger.add(f"{entry['path']}: {', '.join(words)}")


def show(name, number):
    """A mode in octal, an owner or a group by name where it has one."""
    if name == "mode":
        return f"{number:04o}"
    try:
        return pwd.getpwuid(number).pw_name if name == "owner" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def converge_content(entry, path, content, wishes, ledger):
    """One regular file."""
    before, now = content_of(path) or (None, None)
    if before is not None and (entry["once"] or before == content):
        correct_attributes(entry, path, now, wishes, ledger)
        return
    if now is not None:
        wishes = tuple(is_now if wish == -1 else wish for wish, is_now in zip(wishes, now, strict=True))
    place(entry, path, content, wishes, ledger)
    ledger.add(f"wrote {entry['path']}", difference(entry, before, content))


def converge_directory(entry, path, wishes, ledger):
    """One directory, not what is in it."""
    kind = mode_of(path)
    if stat.S_ISDIR(kind):
        correct_attributes(entry, path, attributes_of(os.lstat(path)), wishes, ledger)
        return
    if kind:
        raise Failed(f"{entry['path']} is {'a link' if stat.S_ISLNK(kind) else 'there'}, and no directory")
    ledger.touch(entry["path"])
    if not ledger.check:
        make_folder(path, wishes)
    ledger.add(f"made the directory {entry['path']}")


def converge_link(entry, path, ledger):
    """One symbolic link."""
    target = entry["target"]
    if path.is_symlink() and path.readlink() == Path(target):
        return
    if stat.S_ISDIR(mode_of(path)):
        raise Failed(f"{entry['path']} is a directory where a link is to be")
    ledger.touch(entry["path"])
    if not ledger.check:
        keep_for_undo(path, ledger)
        point(path, target)
    ledger.add(f"pointed {entry['path']} to {target}")


def converge_absence(entry, path, ledger):
    """What must not be there."""
    ledger.touch(entry["path"])
    if not ledger.check:
        keep_for_undo(path, ledger)
        remove(path)
    ledger.add(f"removed {entry['path']}")


def converge_entry(entry, contents, ledger):
    """Whatever state the entry asks for."""
    described = Path(entry["path"])
    if not described.is_absolute() or entry["path"] != os.path.normpath(entry["path"]):
        raise Failed(f"{entry['path']}: a path begins with / and is written plainly")
    if entry["state"] == "absent" and not os.path.lexists(described):
        return
    if entry["state"] == "link" and entry["target"] is None:
        raise Failed(f"{described}: a link needs a target")
    wishes = described_attributes(entry, ledger.check)
    path = secured(described.parent, ledger) / described.name
    if entry["state"] == "file":
        converge_content(entry, path, base64.b64decode(contents[entry["path"]]), wishes, ledger)
    elif entry["state"] == "directory":
        converge_directory(entry, path, wishes, ledger)
    elif entry["state"] == "link":
        converge_link(entry, path, ledger)
    else:
        converge_absence(entry, path, ledger)


def apply_fragment(path, ledger):
    """Users of a sysusers.d fragment are needed by the files after it."""
    if path in ledger.touched and path.startswith("/etc/sysusers.d/") and not ledger.check and Path(path).exists():
        output_of(["systemd-sysusers", path])


def converge_files(files, contents, checks, ledger):
    """All files, then the check of the whole; a refusal puts every file back."""
    try:
        for entry in files:
            converge_entry(entry, contents, ledger)
            apply_fragment(entry["path"], ledger)
        if ledger.touched and not ledger.check:
            for argv in checks:
                output_of(argv)
    except (Failed, OSError) as failure:
        for undo in reversed(ledger.undo):
            undo()
        raise Failed(f"{failure}; the files written before it were put back") from failure
    fragments = sorted(path for path in ledger.touched if path.startswith("/etc/tmpfiles.d/") and Path(path).exists())
    if fragments and not ledger.check:
        output_of(["systemd-tmpfiles", "--create", *fragments])


# Certificates


def certificate_holds(path, days):
    """Whether the certificate is there and good for so many days."""
    argv = ["openssl", "x509", "-noout", "-checkend", str(days * 24 * 3600), "-in", str(path)]
    return path.exists() and subprocess.run(argv, capture_output=True).returncode == 0


def converge_certificate(certificate, ledger):
    """A self-signed certificate for a host that was given none."""
    path, key = Path(certificate["path"]), Path(certificate["key"])
    if key.exists() and certificate_holds(path, certificate["days_left"]):
        return
    for made in (key, path):
        ledger.touch(str(made))
    if not ledger.check:
        make_certificate(certificate, path, key)
    ledger.add(f"made the certificate {path}")


def make_certificate(certificate, path, key):
    """Both are made beside and renamed, the key first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ",".join(
        f"{'IP' if name.replace('.', '').isdigit() or ':' in name else 'DNS'}:{name}" for name in certificate["names"]
    )
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch"]
    argv += [
        "-days",
        str(certificate["days"]),
        "-subj",
        f"/CN={certificate['names'][0]}",
        "-addext",
        f"subjectAltName={names}",
    ]
    with folder_beside(path, check=False) as folder:
        made, made_key = folder / "certificate", folder / "key"
        output_of([*argv, "-keyout", str(made_key), "-out", str(made)])
        made_key.chmod(0o600)
        made.chmod(0o644)
        made_key.replace(key)
        made.replace(path)


# Keys


def converge_key(key, ledger):
    """Makes the pair once; answers with its public half."""
    path = Path(key["path"])
    public = Path(f"{path}.pub")
    if not path.exists():
        ledger.add(f"made the key {path}")
        if ledger.check:
            return ""
        make_key(key, path, public)
    elif not public.exists():
        ledger.add(f"made the public half {public}")
        if ledger.check:
            return ""
        public.write_text(output_of(["ssh-keygen", "-y", "-f", str(path)]))
        public.chmod(0o644)
    return public.read_text().strip()


def make_key(key, path, public):
    """Both halves are made beside; the private one appears last, so that whoever sees it sees both."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, mode=0o700)
    uid, gid = owner_of(key, check=False)
    with folder_beside(path, check=False) as folder:
        made = folder / "key"
        public_made = folder / "key.pub"
        output_of(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key["comment"], "-f", str(made)])
        for half in (made, public_made):
            os.chown(half, uid, gid)
        public_made.replace(public)
        made.replace(path)


# Units


def shown(names):
    """The properties of each unit, from one question."""
    answer = output_of(["systemctl", "show", f"--property={SHOWN}", "--", *names])
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in answer.strip().split("\n\n")]
    return dict(zip(names, blocks, strict=True))


def concerned(patterns, ledger):
    """The first of the touched paths that a unit names."""
    return next((path for path in sorted(ledger.touched) if any(fnmatch.fnmatch(path, one) for one in patterns)), None)


def end_of_journal(name):
    """A unit's last words, for the message of its failure."""
    asked = subprocess.run(
        ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=10", f"--unit={name}"],
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip()


def command_unit(verb, name, ledger, sentence):
    """Gives systemd one order."""
    if not ledger.check:
        try:
            output_of(["systemctl", verb, "--", name])
        except Failed as failure:
            raise Failed(f"{failure}\n{end_of_journal(name)}") from failure
    ledger.add(sentence)


def converge_enablement(unit, properties, ledger):
    """Whether the unit comes with the next boot."""
    if unit["enabled"] is None:
        return
    state = properties["UnitFileState"]
    is_enabled = state in ("enabled", "enabled-runtime", "alias", "static", "indirect", "generated")
    if state == "masked" and unit["enabled"]:
        raise Failed(f"{unit['name']} is masked; `systemctl unmask {unit['name']}` if that is no longer meant")
    if unit["enabled"] and not is_enabled:
        command_unit("enable", unit["name"], ledger, f"enabled {unit['name']}")
    if not unit["enabled"] and state in ("enabled", "enabled-runtime", "alias"):
        command_unit("disable", unit["name"], ledger, f"disabled {unit['name']}")


def start(name, properties, ledger):
    """Starts a unit; one whose own conditions forbid it on this host (`ConditionVirtualization=`) is no change."""
    if ledger.check:
        if properties["ConditionResult"] == "yes" or not properties["ConditionTimestamp"]:
            ledger.add(f"started {name}")
        return
    before = len(ledger.changes)
    command_unit("start", name, ledger, f"started {name}")
    now = shown([name])[name]
    if now["ActiveState"] == "inactive" and now["ConditionResult"] == "no":
        del ledger.changes[before:], ledger.diffs[before:]


def converge_activity(unit, properties, ledger):
    """Whether the unit runs, and with what is on disk now."""
    name = unit["name"]
    is_active = properties["ActiveState"] in ("active", "activating", "reloading")
    if unit["state"] == "stopped":
        if is_active:
            command_unit("stop", name, ledger, f"stopped {name}")
        elif properties["ActiveState"] == "failed":
            command_unit("reset-failed", name, ledger, f"forgot the failure of {name}")
        return
    restarter = concerned(unit["restarted_by"], ledger)
    reloader = concerned(unit["reloaded_by"], ledger)
    if restarter and (is_active or unit["state"] == "started" or unit["state"] is None):
        command_unit("restart", name, ledger, f"restarted {name}, for {restarter} changed")
    elif not is_active and unit["state"] == "started":
        start(name, properties, ledger)
    elif reloader and is_active:
        command_unit("reload-or-restart", name, ledger, f"reloaded {name}, for {reloader} changed")


def needs_reload(before, ledger):
    """Whether systemd has to read its unit files again."""
    return any(path.startswith(UNIT_FOLDERS) for path in ledger.touched) or any(
        properties.get("NeedDaemonReload") == "yes" for properties in before.values()
    )


def converge_units(units, ledger):
    """All units in order; systemd reads its files again first where they changed."""
    changed_files = any(path.startswith(UNIT_FOLDERS) for path in ledger.touched)
    if not units and not changed_files:
        return
    names = [unit["name"] for unit in units]
    properties = shown(names) if names else {}
    if needs_reload(properties, ledger) and not ledger.check:
        output_of(["systemctl", "daemon-reload"])
        properties = shown(names) if names else {}
    for unit in units:
        known = properties[unit["name"]]
        if known["LoadState"] == "not-found" and unit["state"] != "stopped" and unit["enabled"] is not False:
            if not ledger.check:
                raise Failed(f"{unit['name']} is not known to systemd")
            ledger.add(f"would bring {unit['name']} to its state")
            continue
        converge_enablement(unit, known, ledger)
        converge_activity(unit, known, ledger)


# PostgreSQL


def quoted(name):
    """An SQL identifier (PostgreSQL manual, 4.1.1)."""
    return '"' + name.replace('"', '""') + '"'


def query(sql, database="postgres"):
    """Rows of tab-separated text; the SQL goes through psql's input."""
    argv = ["runuser", "--user", "postgres", "--", "psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]
    argv += ["--field-separator=\t", "--set=ON_ERROR_STOP=1", f"--dbname={database}"]
    ended = subprocess.run(argv, input=sql, capture_output=True, text=True, cwd="/")
    if ended.returncode != 0:
        raise Failed(f"psql: {ended.stderr.strip()}")
    return [tuple(line.split("\t")) for line in ended.stdout.splitlines()]


def await_postgres():
    """A cluster that was started a moment ago may still be replaying its log."""
    with seconds_at_most(60, "PostgreSQL") as left:
        while left() and subprocess.run(["pg_isready", "--quiet"], capture_output=True).returncode != 0:
            time.sleep(0.2)  # pg_isready is the only thing to wait on


ROLES_SQL = """select rolname, rolcanlogin, rolcreatedb, rolsuper or rolcreaterole or rolreplication, rolconnlimit
from pg_roles;"""
MEMBERS_SQL = """select member.rolname, granted.rolname from pg_auth_members
join pg_roles member on member.oid = member join pg_roles granted on granted.oid = roleid;"""
DATABASES_SQL = """select datname, rolname, pg_encoding_to_char(encoding) from pg_database
join pg_roles on pg_roles.oid = datdba;"""


CONNECT_SQL = """select datname, pg_get_userbyid(grantee) from pg_database, aclexplode(datacl)
where privilege_type = 'CONNECT' and grantee <> 0;"""


def role_statements(role, known, memberships):
    """What a role lacks, as SQL with a sentence for each."""
    name = role["name"]
    wishes = f"login nosuperuser nocreaterole noreplication {'createdb' if role['createdb'] else 'nocreatedb'}"
    wishes += f" connection limit {int(role['connections'])}"
    if name not in known:
        yield f"create role {quoted(name)} {wishes};", f"made the PostgreSQL role {name}"
    elif known[name] != ("t", "t" if role["createdb"] else "f", "f", str(role["connections"])):
        yield f"alter role {quoted(name)} {wishes};", f"corrected the PostgreSQL role {name}"
    for granted in role["member_of"]:
        if (name, granted) not in memberships:
            yield f"grant {quoted(granted)} to {quoted(name)};", f"granted {granted} to {name}"


def database_statements(database, known):
    """What a database lacks, as SQL with a sentence for each."""
    name, owner = quoted(database["name"]), quoted(database["owner"])
    if database["name"] not in known:
        yield (
            f"create database {name} owner {owner} encoding 'UTF8' locale 'C.UTF-8' template template0;",
            f"made the database {database['name']}",
        )
        yield f"revoke connect, temporary on database {name} from public;", f"closed {database['name']} to other roles"
        return
    known_owner, encoding = known[database["name"]]
    if encoding != "UTF8":
        raise Failed(f"the database {database['name']} is encoded in {encoding}; dump it, drop it, and provision again")
    if known_owner != database["owner"]:
        yield f"alter database {name} owner to {owner};", f"gave the database {database['name']} to {database['owner']}"


def connect_statements(database, granted):
    """Which roles beside the owner may not connect yet, although they should."""
    for role in database["connect"]:
        if (database["name"], role) not in granted:
            yield (
                f"grant connect on database {quoted(database['name'])} to {quoted(role)};",
                f"let {role} connect to {database['name']}",
            )


def execute(statements, ledger, database="postgres"):
    """Runs each statement and notes its sentence."""
    for sql, sentence in statements:
        if not ledger.check:
            query(sql, database)
        ledger.add(sentence)


def converge_postgres(postgres, ledger):
    """Roles, then databases with their extensions, then who reads them."""
    if ledger.check and not Path("/usr/bin/psql").exists():
        ledger.add("would make PostgreSQL's roles and databases")
        return
    await_postgres()
    known_roles = {name: tuple(rest) for name, *rest in query(ROLES_SQL)}
    memberships = set(query(MEMBERS_SQL))
    for role in postgres["roles"]:
        execute(role_statements(role, known_roles, memberships), ledger)
    known_databases = {name: tuple(rest) for name, *rest in query(DATABASES_SQL)}
    granted = set(query(CONNECT_SQL))
    for database in postgres["databases"]:
        execute(database_statements(database, known_databases), ledger)
        execute(connect_statements(database, granted), ledger)
        if database["extensions"] and (database["name"] in known_databases or not ledger.check):
            converge_extensions(database, ledger)
    if postgres["readers"]:
        made = {name for name, *_ in query(ROLES_SQL)}, {name for name, *_ in query(DATABASES_SQL)}
        for reader in postgres["readers"]:
            converge_reader(reader, made, granted, ledger)


def converge_extensions(database, ledger):
    """Extensions need a superuser, so they are made here."""
    known = {name for (name,) in query("select extname from pg_extension;", database["name"])}
    lacking = [name for name in database["extensions"] if name not in known]
    statements = [
        (f"create extension {quoted(name)};", f"made the extension {name} in {database['name']}") for name in lacking
    ]
    execute(statements, ledger, database["name"])


# What a role may read is granted schema by schema; what the owner makes later it may read without another grant.
# What everybody may do in a database is more than reading, in a transaction that only reads as well: temporary tables,
# large objects, messages in the log, and ending what others of the same role do. The owner keeps that.
SCHEMAS = "nspname !~ '^pg_' and nspname <> 'information_schema'"
LACKING_SQL = """select 'usage', nspname from pg_namespace
where {schemas} and not has_schema_privilege({role}, oid, 'usage')
union select 'select', nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where {schemas} and relkind in ('r', 'p', 'v', 'm', 'f') and not has_table_privilege({role}, pg_class.oid, 'select')
order by 2, 1 desc;"""
OWNER_SQL = "select pg_get_userbyid(datdba) from pg_database where datname = current_database();"
LATER_SQL = """select defaclobjtype from pg_default_acl, aclexplode(defaclacl)
where defaclnamespace = 0 and pg_get_userbyid(defaclrole) = {owner} and pg_get_userbyid(grantee) = {role};"""
TOO_MUCH_SQL = """select 'temporary on database ' || quote_ident(current_database())
where has_database_privilege({role}, current_database(), 'temporary')
union select 'create on database ' || quote_ident(current_database())
where has_database_privilege({role}, current_database(), 'create')
union select 'create on schema ' || quote_ident(nspname) from pg_namespace
where {schemas} and has_schema_privilege({role}, oid, 'create')
union select 'execute on function ' || oid::regprocedure from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and has_function_privilege({role}, oid, 'execute')
and proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_cancel_backend', 'pg_terminate_backend',
'pg_logical_emit_message') order by 1;"""


def literal(text):
    """An SQL string (PostgreSQL manual, 4.1.2.1)."""
    return "'" + text.replace("'", "''") + "'"


def reader_statements(reader):
    """What a role lacks in a database to read all of it and write nothing, as SQL with a sentence for each."""
    name, database = reader["role"], reader["database"]
    role = quoted(name)
    for privilege, schema in query(LACKING_SQL.format(schemas=SCHEMAS, role=literal(name)), database):
        what = "usage on" if privilege == "usage" else "select on all tables in"
        yield f"grant {what} schema {quoted(schema)} to {role};", f"let {name} read {schema} of {database}"
    ((owner,),) = query(OWNER_SQL, database)
    known = {kind for (kind,) in query(LATER_SQL.format(owner=literal(owner), role=literal(name)), database)}
    for kind, grant in (("n", "usage on schemas"), ("r", "select on tables")):
        if kind not in known:
            yield (
                f"alter default privileges for role {quoted(owner)} grant {grant} to {role};",
                f"let {name} read what {owner} will make in {database}",
            )
    for (privilege,) in query(TOO_MUCH_SQL.format(schemas=SCHEMAS, role=literal(name)), database):
        yield (
            f"revoke {privilege} from public, {role}; grant {privilege} to {quoted(owner)};",
            f"left {privilege} in {database} to {owner}",
        )


def converge_reader(reader, made, granted, ledger):
    """A role that may read one database, which somebody else makes. `made` are the roles and databases that exist."""
    name, (roles, databases) = reader["database"], made
    if name not in databases and not ledger.check:
        raise Failed(f"there is no database {name} for {reader['role']} to read")
    if name not in databases or reader["role"] not in roles:
        ledger.add(f"would let {reader['role']} read {name}")
        return
    execute(connect_statements({"name": name, "connect": [reader["role"]]}, granted), ledger)
    execute(list(reader_statements(reader)), ledger, name)


# The whole


def converge(parameters, ledger):
    """One concern, in the order in which its parts need each other."""
    contents = dict(parameters["contents"])
    converge_packages(parameters["packages"], ledger)
    files = []
    for user in parameters["users"]:
        converge_user(user, ledger)
        if user["keys"] is not None and user["state"] == "present":
            entries, text = authorized_keys_of(user)
            files += entries
            contents[entries[-1]["path"]] = base64.b64encode(text.encode()).decode()
    for certificate in parameters["certificates"]:
        converge_certificate(certificate, ledger)
    converge_files([*files, *parameters["files"]], contents, parameters["check"], ledger)
    public_keys = {key["path"]: converge_key(key, ledger) for key in parameters["keys"]}
    converge_units(parameters["units"], ledger)
    ledger.settle()
    if parameters["postgres"] and any(parameters["postgres"].values()):
        converge_postgres(parameters["postgres"], ledger)
    return public_keys


def answer_to(request):
    """The result of the step: what was, or in check mode would be, changed, or why it failed."""
    ledger = Ledger(request["check"], request["role"])
    answer = {"failed": False}
    try:
        answer["public_keys"] = converge(request["described"], ledger)
    except (Failed, OSError) as failure:
        answer = {"failed": True, "msg": str(failure)}
    finally:
        ledger.close()
    if ledger.changes and not request["check"]:
        syslog.openlog("rota-converge")
        syslog.syslog("; ".join(ledger.changes)[:2000])
    return {
        **answer,
        "changed": bool(ledger.changes),
        "changes": ledger.changes,
        "diff": ledger.diffs if request["diff"] else [],
    }


def main():
    """Reads the request that follows this text, and prints the answer as one line."""
    print(json.dumps(answer_to(json.load(sys.stdin.buffer))))


if __name__ == "__main__":
    main()
