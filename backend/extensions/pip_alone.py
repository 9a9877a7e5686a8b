"""pip as a program that starts no other program. `backend.extensions.pip` runs this file.

pip reads what a package says of itself without running it, where the package is ready made. One that is not is built,
and that is done in a program of its own: so is a package that another one names by an address, whatever pip was told.
"""

import runpy
import sys

STARTS = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system"}
)
REFUSED = "a package would have to be built or fetched by a program, and none is started"


def refuse(event: str, _arguments: tuple[object, ...]) -> None:
    """An audit hook. Raises `PermissionError`, as a system does that lets nobody start programs: pip goes on without
    those that only say where it runs."""
    if event in STARTS:
        raise PermissionError(REFUSED)


if __name__ == "__main__":
    sys.addaudithook(refuse)
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
