"""Whether a task without a schedule is needed, as its runner sees it; imported for no other task.

The file that tells is described in `rota.core.needed`. Only the holder of the task's lock writes to it.
"""

import posix
import time


def is_due(path: str, every: float, wait: float) -> bool:
    """Whether the last success is older than `every` seconds, and the last failure older than `wait`."""
    now = time.time()
    succeeded, failed = read(path)
    is_too_soon = failed > succeeded and 0 <= now - failed < wait
    return not (0 <= now - succeeded < every or is_too_soon)


def is_anything_in(folders: str) -> bool:
    """Whether something lies in one of these folders, a line each. One that cannot be read is the work's to tell of."""
    for folder in folders.split("\n"):
        try:
            if posix.listdir(folder):
                return True
        except OSError:
            return True
    return False


def note(path: str, status: str) -> None:
    """Note that the task just succeeded or failed. What cannot be noted makes it due again, and no more than that."""
    moments = read(path)
    moments[0 if status == "succeeded" else 1] = int(time.time())
    try:
        file = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
        posix.pwrite(file, b"%010d %010d\n" % tuple(moments), 0)
        posix.close(file)
    except OSError as error:
        posix.write(2, f"rota: {error}\n".encode())


def read(path: str) -> list[int]:
    """When the task last succeeded and failed; zero for never."""
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return [0, 0]
    try:
        words = posix.read(file, 100).split()
    finally:
        posix.close(file)
    return [int(word) for word in words] if len(words) == 2 and all(map(bytes.isdigit, words)) else [0, 0]
