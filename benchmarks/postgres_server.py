"""A PostgreSQL server of one's own for as long as a benchmark takes, from the system's own binaries."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where PostgreSQL is not installed."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), Path(shutil.which("initdb") or "/nowhere")]
    return next((path.parent for path in found if path.is_file()), None)


@contextmanager
def postgres() -> Iterator[Callable[[str], str]]:
    """Within, a function that makes a database of a name and returns its URL.

    The server wants another user than root: as root it runs as `postgres`.
    """
    where = binaries()
    if where is None:
        raise SystemExit("PostgreSQL is not here: apt-get install postgresql, or leave it out.")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    user = "postgres" if as_user else os.environ.get("USER", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*words: str) -> None:
        subprocess.run([*as_user, *words], check=True, stdout=subprocess.DEVNULL, cwd="/")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "server"
        folder.mkdir()
        Path(temporary).chmod(0o755)
        if as_user:
            shutil.chown(folder, "postgres")
        run(str(where / "initdb"), "-D", str(folder / "data"), "-U", user, "--auth=trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        control = [str(where / "pg_ctl"), "-D", str(folder / "data"), "-w"]
        run(*control, "-o", options, "-l", str(folder / "log"), "start")
        try:

            def made(name: str) -> str:
                run(str(where / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", user, name)
                return f"postgresql+psycopg://{user}@127.0.0.1:{port}/{name}"

            yield made
        finally:
            run(*control, "-m", "immediate", "stop")
