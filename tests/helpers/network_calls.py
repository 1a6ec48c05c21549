"""Note every use of a network, in this process and in all that it starts, and forbid it.

Rules:
- Sockets of the same machine's own kind (AF_UNIX), by which processes speak with each other, are no network.
- Processes that are started get the same hook by a sitecustomize, unless they run isolated: `strace` sees those too.
- A hook of Python cannot be taken away: outside of `no_network` it does nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_LOG = "NETWORK_CALLS_LOG"
_HOOK = f"""
import os, sys

def _hook(event, args):
    log = os.environ.get({_LOG!r})
    if not log or not event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        return
    if event == "socket.__new__":
        is_network = args[1] not in (1, -1)  # AF_UNIX; -1 where a descriptor says it
    elif event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        is_network = getattr(args[0], "family", 0) != 1
    else:
        is_network = event not in ("socket.gethostname",)
    if is_network:
        with open(log, "a") as file:
            file.write(f"{{event}} {{args!r}}\\n")
        raise OSError("no network here")

sys.addaudithook(_hook)
"""
# A tool of the tests brings requests, which pydicom imports where it is there, and which asks by a socket whether the machine
# knows IPv6. No package of ours brings it.
_MAIN = "import sys; sys.modules['requests'] = None; from pipeline.cli.main import main; main(sys.argv[1:])"
_hooked = False


@contextmanager
def no_network(folder: Path) -> Iterator[Path]:
    """Forbid every use of a network while the block runs. folder: for what is needed. Returns the log of what was tried."""
    global _hooked
    (folder / "hook").mkdir(parents=True)
    (folder / "hook" / "sitecustomize.py").write_text(_HOOK, "utf-8")
    log = folder / "network.log"
    log.touch()
    if not _hooked:
        exec(_HOOK, {})
        _hooked = True
    before = {name: os.environ.get(name) for name in (_LOG, "PYTHONPATH")}
    os.environ[_LOG] = str(log)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder / "hook"), before["PYTHONPATH"])))
    try:
        yield log
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def can_trace() -> bool:
    """Whether `strace` is here and may look."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


def traced_calls(words: Sequence[object], folder: Path) -> list[str]:
    """The system calls of a command, and of all that it starts, that make a socket of a network."""
    trace = folder / "trace"
    given = ["strace", "-f", "-q", "-e", "trace=network", "-o", str(trace), sys.executable, "-c", _MAIN]
    done = subprocess.run([*given, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [
        line for line in trace.read_text("utf-8").splitlines() if re.search(r"AF_INET|AF_PACKET|AF_BLUETOOTH", line)
    ]
