"""A server process on a port of 127.0.0.1: started, waited for, stopped, killed, and gone with whoever started it."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

READY_WITHIN = 120.0  # seconds; a loaded machine is slow, a server that will not start says so at once


class ServerUnavailable(Exception):
    """The server cannot be had on this machine, and why."""


class ServerFailed(Exception):
    """The server did not start, and the last lines of its log."""


class Server:
    """One server process: ``start``, ``stop``, ``kill``, ``restart``, and ``with``.

    ``folder`` is made if missing. Without one, or with one that the server could not reach, it is a new one under the
    system's temporary folder, which goes with this process. A subclass says how to make the data (``_prepare``), the
    command (``_command``) and whether it answers (``_answers``).
    """

    name = "server"

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = _usable_folder(folder, self.name)
        if folder is None or self.folder != Path(folder).resolve():
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.host = "127.0.0.1"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start and wait until it answers. Raises ServerFailed with the end of its log."""
        if self.running:
            return self
        self._prepare()
        command = ["setpriv", "--pdeathsig=KILL", *self._as_user(), "--", *self._command()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready(self._process)
        return self

    def stop(self) -> None:
        """Ask it to end and wait for it; SIGKILL when it has not ended after a while."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: it ends at once, between any two instructions."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process to send signals to, e.g. SIGSTOP and SIGCONT."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while not self._answers():
            if process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise ServerFailed(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _as_user(self) -> list[str]:
        return []

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _prepare(self) -> None: ...

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


def free_port() -> int:
    """A port below those that the kernel hands to outgoing connections: it is still free when the server is started
    again. This process has it to its end: until a server listens, nobody else would see that it is taken, and two
    processes would talk to the server of one.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _claim(port)
            return port
    raise ServerFailed("no free port between 20000 and 32000")


def _claim(port: int) -> None:
    """Raises OSError if another process has it. An abstract name of Linux: it goes with this process."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0whimbrel-port-{port}")
    except OSError:
        claim.close()
        raise
    atexit.register(claim.close)  # kept open: a name is taken for as long as its socket is there


def unprivileged() -> list[str]:
    """What setpriv is told when we are root: no database server should have root's rights."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


def give_to_unprivileged(folder: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _usable_folder(folder: Path | str | None, name: str) -> Path:
    """``folder``, made; or a new one where ``nobody`` can reach it, when it was None or lies e.g. under /root."""
    if folder is not None:
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in path.parents):
            return path
    path = Path(tempfile.mkdtemp(prefix=f"whimbrel-{name}-"))
    path.chmod(0o755)
    return path


def program(name: str, how: str) -> str:
    if path := find_program(name):
        return path
    raise ServerUnavailable(f"{name} is not installed. `{how}`")


def find_program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
