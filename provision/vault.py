"""Vault files: reading and replacing YAML that ansible-vault encrypts, with the password from one declared place."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from provision.errors import OperatorError
from provision.inventory import ENVIRONMENTS, Inventory

PASSWORD_VARIABLE = "ROTA_VAULT_PASSWORD_FILE"  # noqa: S105 - the name of a variable, not a password
HEADER = "$ANSIBLE_VAULT;"
CIPHER_BLOCK = 16  # bytes; ansible-vault pads to it


class NoVaultPassword(OperatorError):
    """There is no vault password."""


class WrongVaultPassword(OperatorError):
    """The vault password is wrong."""


class BrokenVault(OperatorError):
    """The vault file is damaged."""


class PlainVault(OperatorError):
    """The vault file is not encrypted."""


def vault_path(inventory: Inventory, group: str) -> Path:
    """Where the secrets of one group (`all` or an environment) are."""
    return inventory.folder / "group_vars" / group / "vault.yml"


def vault_password_file(inventory: Inventory, root: Path) -> Path:
    """The file that holds the vault password, or the script that prints it.

    A lab (`lab`, `lab-…`) always uses its own, so that a variable set for a real estate cannot get in its way.
    """
    own = root / ".rota" / inventory.name / "vault_password"
    named = os.environ.get(PASSWORD_VARIABLE, "") if not inventory.is_lab else ""
    path = Path(named).expanduser() if named else own
    if path.is_file():
        return path
    if named:
        raise NoVaultPassword(f"{PASSWORD_VARIABLE} names {path}, which is no file")
    if inventory.is_lab:
        raise NoVaultPassword(
            f"{own} does not exist; `fab lab.up` makes it. `lab` and `lab-…` are labs: name an estate otherwise"
        )
    raise NoVaultPassword(f"set {PASSWORD_VARIABLE} to a file that holds it or a script that prints it, or make {own}")


def read_password(path: Path) -> bytes:
    """The password a file holds, or a script (an executable file) prints; without space around it."""
    if os.access(path, os.X_OK):
        done = subprocess.run([str(path.resolve())], stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise NoVaultPassword(f"the script {path} ended with exit code {done.returncode}")
        text = done.stdout
    else:
        text = path.read_bytes()
    if not text.strip():
        raise NoVaultPassword(f"{path} gives an empty one")
    return text.strip()


def decrypt(path: Path, password: bytes) -> str:
    """The text of a vault file.

    Raises PlainVault, BrokenVault or WrongVaultPassword; none of them holds a word of the text.
    """
    cipher = path.read_bytes()
    if not cipher.startswith(HEADER.encode()):
        raise PlainVault(f"{path}; encrypt it with `ansible-vault encrypt`, and change what was readable")
    if not _is_whole(cipher):
        raise BrokenVault(f"{path} is cut off or was edited by hand; the numbered files beside it are older states")
    library = _library()
    try:
        text: bytes = library.VaultLib([("default", library.VaultSecret(password))]).decrypt(cipher)
        return text.decode()
    except (library.AnsibleVaultFormatError, UnicodeDecodeError):
        raise BrokenVault(f"{path}; the numbered files beside it are older states") from None
    except library.AnsibleError:
        raise WrongVaultPassword(f"it does not open {path}") from None


def encrypt(text: str, password: bytes) -> str:
    """The text as ansible-vault would write it."""
    library = _library()
    secret = library.VaultSecret(password)
    cipher: bytes = library.VaultLib([("default", secret)]).encrypt(text, secret)
    return cipher.decode()


def parse(text: str, path: Path) -> dict[str, Any]:
    """The variables of a decrypted vault. Raises BrokenVault with the place of the error, never with the text."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a name that stands twice: the second would silently replace the first, hosts and all."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _value in node.value]
            for key, _value in node.value:
                if names.count(key.value) > 1:
                    raise yaml.MarkedYAMLError(problem="a name stands twice", problem_mark=key.start_mark)
            return super().construct_mapping(node, deep)

    try:
        values = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        wrong = error.problem if error.problem == "a name stands twice" else "it is not YAML"
        raise BrokenVault(f"{path}: line {line} of its text: {wrong}; `fab secrets.edit` opens it") from None
    except yaml.YAMLError:
        raise BrokenVault(f"{path}: its text is not YAML; `fab secrets.edit` opens it") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BrokenVault(f"{path}: its text is no list of `variable: value`; `fab secrets.edit` opens it")
    return {str(name): value for name, value in values.items()}


def read(path: Path, password: bytes) -> dict[str, Any]:
    """The variables of a vault file; none when there is no file."""
    return parse(decrypt(path, password), path) if path.exists() else {}


def require_open_vaults(inventory: Inventory, root: Path) -> None:
    """Raises what `decrypt` raises for the first vault of an inventory that the password does not open."""
    password = read_password(vault_password_file(inventory, root))
    for group in ("all", *ENVIRONMENTS):
        read(vault_path(inventory, group), password)


def replace(path: Path, text: str, password: bytes) -> Path | None:
    """Encrypt `text` into `path` (0600), all or nothing; the state before stays beside it as `vault.yml.~N~`.

    Returns the path of that older state, None when there was none. Plain text never touches the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    older = keep_older(path)
    write_private(path, encrypt(text, password))
    return older


def keep_older(path: Path) -> Path | None:
    """Keep the present state of a file under the next free number. Ansible ignores names that end in `~`."""
    if not path.exists():
        return None
    numbers = [int(other.name.rsplit("~", 2)[1]) for other in older_states(path)]
    older = path.with_name(f"{path.name}.~{max(numbers, default=0) + 1}~")
    os.link(path, older)
    return older


def older_states(path: Path) -> list[Path]:
    """The numbered states before the present one, in no order."""
    return [other for other in path.parent.glob(f"{path.name}.~*~") if other.name.rsplit("~", 2)[1].isdigit()]


def secret_files(inventory: Inventory, root: Path) -> list[Path]:
    """The files that hold secrets: vaults, their older states, the password of this checkout."""
    vaults = [vault_path(inventory, group) for group in ("all", *ENVIRONMENTS)]
    own = root / ".rota" / inventory.name / "vault_password"
    every = [own, *(one for path in vaults for one in (path, *sorted(older_states(path))))]
    return [path for path in every if path.exists()]


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner may read: written beside, synced, renamed."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


def value_as_yaml(variable: str, value: Any) -> str:
    """`variable: value` as a person would write it: several lines as a block, one entry per line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Several lines of text are shown as lines."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    rendered: str = yaml.dump({variable: value}, Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return rendered


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """The text with these variables set: replaced where they stand, the new ones at the end, all else untouched."""
    for variable, value in values.items():
        place = _place_of(text, variable)
        if place is None:
            text = (text.rstrip("\n") + "\n" if text.strip() else "---\n") + value_as_yaml(variable, value)
        else:
            first, last = place
            lines = text.splitlines(keepends=True)
            text = "".join([*lines[:first], value_as_yaml(variable, value), *lines[last:]])
    return text


def _library() -> Any:
    """Ansible's own vault library: untyped, and slow to import (0.3 s), so only where a vault is opened."""
    return import_module("ansible.parsing.vault")


def _place_of(text: str, variable: str) -> tuple[int, int] | None:
    """The first line of a top-level entry and the line after its last, or None."""
    import yaml

    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    entries = tree.value if isinstance(tree, yaml.MappingNode) else []
    for key, value in entries:
        if key.value == variable:
            last = value.end_mark
            end: int = last.line if last.column == 0 and last.line > key.start_mark.line else last.line + 1
            return key.start_mark.line, _without_trailing_comments(text, key.start_mark.line + 1, end)
    return None


def _without_trailing_comments(text: str, first: int, end: int) -> int:
    """YAML counts comments after a block as part of it; they belong to what follows."""
    lines = text.splitlines()
    while end > first and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end


def _is_whole(cipher: bytes) -> bool:
    """Whether the file has the shape ansible-vault gives it: tells a damaged file from a wrong password.

    The body is hexadecimal of three lines (salt, HMAC-SHA256, ciphertext), each hexadecimal again.
    """
    try:
        body = bytes.fromhex(b"".join(cipher.splitlines()[1:]).decode("ascii"))
        _salt, digest, ciphertext = (bytes.fromhex(part.decode("ascii")) for part in body.split(b"\n"))
    except ValueError:
        return False
    return len(digest) == 32 and bool(ciphertext) and len(ciphertext) % CIPHER_BLOCK == 0
