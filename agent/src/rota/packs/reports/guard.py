"""The code guard: what scripts had better not do, by line, found on their syntax tree. It is a lint, and not the wall.

It names the five things that the original named. Comments, strings and names that merely end alike are no findings;
aliases, `from` imports, `__import__`, `getattr` and other roads to the same are. Whoever wants to get round it can:
what keeps a script in is the sandbox.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rota.packs.reports.syntax import parse

EXEC, EVAL, OS, SUBPROCESS, OPEN = "exec()", "eval()", "os.[any method]", "subprocess.[any method]", "open()"
WORDS = (EXEC, EVAL, OS, SUBPROCESS, OPEN)
"""In the order in which they are told. `exec()` stands also for what reaches anything, such as `builtins`."""
FORBIDDEN = "Illegal instructions found: "

FUNCTIONS = {"exec": EXEC, "eval": EVAL, "open": OPEN}
ROADS = {"__import__", "__builtins__", "__loader__", "__spec__", "__globals__", "__subclasses__"}
"""Names from which everything can be reached."""
MODULES = {
    **dict.fromkeys(("os", "_os", "posix", "nt"), OS),
    **dict.fromkeys(("subprocess", "_posixsubprocess", "multiprocessing", "pty"), SUBPROCESS),
    **dict.fromkeys(("builtins", "importlib", "imp", "runpy", "code", "codeop", "ctypes", "_ctypes", "cffi"), EXEC),
    **dict.fromkeys(("shutil", "fileinput", "linecache", "_io", "mmap"), OPEN),
}
PARTS = {"os", "_os", "posix", "subprocess", "builtins", "importlib"}
"""Of those modules what others have in them, as in `shutil.os`."""
FILE_METHODS = {"open", "fdopen", "open_code", "FileIO", "read_text", "read_bytes", "write_text", "write_bytes"}
PROCESS_METHODS = {"create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell"}
GETTERS = {"getattr", "attrgetter", "methodcaller", "__getattribute__"}
NAMESPACES = {"vars", "globals", "locals"}
IMPORTERS = {"__import__", "import_module"}


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a script had better not do, and where; lines and columns count from 1."""

    line: int
    column: int
    word: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.word}"


def inspect(body: str, name: str = "") -> tuple[Finding, ...]:
    """What is found in a script, in the order of its text. Raises BadScript where it cannot be parsed."""
    tree = parse(body, name)
    modules = imported_modules(tree.module)
    found = {
        Finding(*tree.place(node), word) for node in ast.walk(tree.module) for word in words_for(node, modules) if word
    }
    return tuple(sorted(found))


def words_of(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Each word once, in the order of WORDS."""
    found = {finding.word for finding in findings}
    return tuple(word for word in WORDS if word in found)


def message(found: Mapping[str, Sequence[str]]) -> str:
    """As the original told it: `Illegal instructions found: {name=[exec(), open()]}`; "" where nothing was found."""
    named = ", ".join(f"{name}=[{', '.join(words)}]" for name, words in found.items() if words)
    return f"{FORBIDDEN}{{{named}}}" if named else ""


def imported_modules(module: ast.Module) -> Mapping[str, str]:
    """Names in the script that stand for modules, and the modules."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def words_for(node: ast.AST, modules: Mapping[str, str]) -> Iterator[str]:
    """The words that one node deserves; some may be ""."""
    if isinstance(node, ast.Import):
        yield from (module_word(alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from of_from_import(node)
    elif isinstance(node, ast.Name):
        yield of_name(node)
    elif isinstance(node, ast.Attribute):
        yield of_attribute(node, modules)
    elif isinstance(node, ast.Call):
        yield of_call(node)
    elif isinstance(node, ast.Subscript):
        yield of_subscript(node)


def module_word(path: str) -> str:
    return MODULES.get(path.partition(".")[0], "")


def of_from_import(node: ast.ImportFrom) -> Iterator[str]:
    if node.level == 0:
        builtin = node.module == "builtins"
        yield "" if builtin else module_word(node.module or "")
        for alias in node.names:
            yield member_word(alias.name) or (MODULES[alias.name] if alias.name in PARTS else "")
            yield EXEC if builtin and alias.name == "*" else ""


def member_word(name: str) -> str:
    """What a member of some module, or of everything that is built in, is."""
    if name in PROCESS_METHODS:
        return SUBPROCESS
    if name in FILE_METHODS:
        return OPEN
    return FUNCTIONS.get(name) or (EXEC if name in ROADS else "")


def of_name(node: ast.Name) -> str:
    if not isinstance(node.ctx, ast.Load):
        return ""
    return FUNCTIONS.get(node.id) or (EXEC if node.id in ROADS else "")


def of_attribute(node: ast.Attribute, modules: Mapping[str, str]) -> str:
    module = modules.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
    if module == "builtins":
        return FUNCTIONS.get(node.attr, EXEC)
    if node.attr in PARTS and module:
        return module_word(module) or MODULES[node.attr]
    if word := module_word(module):
        return word
    return "" if node.attr in ("__loader__", "__spec__", *FUNCTIONS.keys() - FILE_METHODS) else member_word(node.attr)


def of_call(node: ast.Call) -> str:
    name = called(node)
    if name in IMPORTERS:
        path = text_of(node.args[0]) if node.args else None
        return EXEC if path is None else module_word(path)
    if name in GETTERS:
        return of_getter(node)
    if name in ("get", "pop", "__getitem__") and is_namespace(node.func):
        return of_key(node.args[0]) if node.args else ""
    return ""


def of_getter(node: ast.Call) -> str:
    """`getattr(x, "open")`, whatever sum the text is."""
    words = [member_word(text) for each in node.args if (text := text_of(each)) is not None]
    return next(filter(None, words), "")


def of_subscript(node: ast.Subscript) -> str:
    """`globals()["__builtins__"]`, `vars(io)["open"]`, `sys.modules["os"]`, and any road by its name."""
    if is_namespace(node):
        return of_key(node.slice)
    return EXEC if text_of(node.slice) in ROADS else ""


def is_namespace(node: ast.AST) -> bool:
    """Whether it takes something out of names: of a module, of an object, or of all modules."""
    value = getattr(node, "value", None)
    if isinstance(value, ast.Call):
        return called(value) in NAMESPACES
    return isinstance(value, ast.Attribute) and value.attr in ("__dict__", "modules")


def of_key(key: ast.expr) -> str:
    text = text_of(key)
    return "" if text is None else member_word(text) or module_word(text)


def called(node: ast.Call) -> str:
    return getattr(node.func, "id", "") or getattr(node.func, "attr", "")


def text_of(node: ast.expr) -> str | None:
    """The text that an expression plainly is: a constant, or a sum of some."""
    parts: list[str] = []
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            waiting += [part.left, part.right]
        elif isinstance(part, ast.JoinedStr):
            waiting += part.values
        elif isinstance(part, ast.FormattedValue):
            waiting.append(part.value)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(part.value)
        else:
            return None
    return "".join(reversed(parts))


LEGACY = {
    EXEC: re.compile(r"exec *\("),
    EVAL: re.compile(r"eval *\("),
    OS: re.compile(r"os *\."),
    SUBPROCESS: re.compile(r"subprocess *\."),
    OPEN: re.compile(r"open *\("),
}


def legacy_words(body: str | None) -> tuple[str, ...]:
    """What the original found in the mere text of a script, false alarms and all."""
    return tuple(word for word, pattern in LEGACY.items() if pattern.search(body or ""))
