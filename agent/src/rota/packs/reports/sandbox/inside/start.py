"""Limits itself for good, then runs the script as if it had been started directly.

The first thing of ours in the sandbox and the last: nothing of the script has been read before the limits hold.
Its arguments are the script, its libraries' folder, and the limits of `limit` in that order.
"""

import builtins
import posix  # what is below os, which takes longer to import than all else here
import resource
import sys

TYPE_CHECKING = False  # as typing has it, which takes longer still
if TYPE_CHECKING:
    from types import ModuleType, TracebackType


def limit(memory: int, file_size: int, processes: int, seconds: int) -> None:
    """Hard limits, which cannot be raised again: bytes, bytes, a count, and seconds of processor time per process."""
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))


def show(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """An error as the script's own: without the frames of this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


def become(script: str, libraries: str) -> "ModuleType":
    """A fresh `__main__`, with the paths and names a script expects; without `site` there would be no `exit`."""
    sys.argv[:] = [script]
    sys.path[:] = [script.rpartition("/")[0], *sys.path, libraries]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # as site does
    sys.excepthook = show
    main = sys.modules["__main__"] = type(sys)("__main__")
    main.__file__ = script
    main.__dict__["__builtins__"] = builtins
    return main


def start() -> None:
    script, libraries, *limits = sys.argv[1:]
    posix.closerange(3, 1024)
    limit(*map(int, limits))
    main = become(script, libraries)
    with open(script, "rb") as file:  # noqa: PTH123 - pathlib costs time
        code = compile(file.read(), script, "exec")
    exec(code, main.__dict__)  # noqa: S102 - what is tried


start()
