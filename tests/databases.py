"""Test databases: migrated once, kept between runs, copied for every process.

dj-stripe's migrations take most of a minute, so they run once into a template. There are two templates: other people's
apps, and on top of it ours, so that a new migration of ours costs seconds. Each is named by a hash of the migrations in
it, and so is rebuilt exactly when they change.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlencode

import psycopg
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor
from psycopg import sql

PREFIX = "test_template"
# Any number will do, so long as it is always the same: who builds a template holds this lock.
BUILDING = 7_253_194
# What migrations write about the code itself.
FIXED_TABLES = {"auth_permission", "django_content_type", "django_migrations"}


def prepare_template(say: Callable[[str], None]) -> None:
    """Build the template if it is not there, before any test runs and its timeout counts."""
    with _server() as server:
        if not _exists(server, _names()[1]):
            say("Migrating a database for the tests to copy; only when migrations change …")
            _template(server)


def create(name: str) -> None:
    """Create (or replace) a database with every migration applied, and let Django use it from here on."""
    with _server() as server:
        _copy(server, _template(server), name)
    _use(name)


def drop(name: str) -> None:
    """Remove a database, whoever may still be connected to it."""
    connections.close_all()
    with _server() as server:
        server.execute(_query("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


def flush_everything() -> None:
    """Make the flush after a transactional test empty every table, and quickly.

    Django's own leaves out tables without a managed model (the job queue's), and is refused by the ledger's triggers,
    which keep it append-only in tests as well. Only the flush goes around them: as a "replica" PostgreSQL runs no
    triggers, nor those that check foreign keys, so a few DELETEs in any order do. It is the class that is changed:
    beside a browser test, Django makes itself another connection.
    """

    def execute_sql_flush(self: DatabaseOperations, sql_list: Iterable[str]) -> None:
        with transaction.atomic(), self.connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table in _filled_tables(cursor):
                cursor.execute(f"DELETE FROM {self.quote_name(table)}")

    DatabaseOperations.execute_sql_flush = execute_sql_flush  # type: ignore[assignment, method-assign]


def _filled_tables(cursor: CursorWrapper) -> list[str]:
    """The tables with rows in them, but for those that only say what the code says."""
    tables = sorted(set(connection.introspection.table_names(cursor)) - FIXED_TABLES)
    quote = connection.ops.quote_name
    questions = [f"SELECT {i} WHERE EXISTS (SELECT 1 FROM {quote(name)})" for i, name in enumerate(tables)]
    cursor.execute(" UNION ALL ".join(questions))
    return [tables[i] for (i,) in cursor.fetchall()]


def url() -> str:
    """Where the present test database is, for a process of its own."""
    parameters = connection.get_connection_params()
    where = urlencode({key: parameters[key] for key in ("host", "port", "password") if parameters.get(key)})
    return f"postgres://{parameters['user']}@/{parameters['dbname']}?{where}"


def _template(server: psycopg.Connection) -> str:
    """The template, built if need be; the lock ends with the connection."""
    server.execute("SELECT pg_advisory_lock(%s)", [BUILDING])
    base, full = _names()
    if not _exists(server, base):
        _discard(server, keep=base)
        with _built(server, base, on="template0"):
            executor = MigrationExecutor(connection)
            labels = {app.label for app in apps.get_app_configs() if not _is_ours(app)}
            executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] in labels])
    if not _exists(server, full):
        _discard(server, keep=base)
        with _built(server, full, on=base):
            call_command("migrate", verbosity=0, interactive=False)
    return full


def _names() -> tuple[str, str]:
    """The templates: with other people's migrations only, and with all of them."""
    base = f"{PREFIX}_{_digest(app for app in apps.get_app_configs() if not _is_ours(app))}"
    return base, f"{base}_{_digest(apps.get_app_configs())}"


@contextmanager
def _built(server: psycopg.Connection, name: str, *, on: str) -> Iterator[None]:
    """Build a template under another name, so that one that was interrupted is never used."""
    unfinished = f"{PREFIX}_unfinished"
    _copy(server, on, unfinished)
    _use(unfinished)
    yield
    connections.close_all()
    server.execute(_query("ALTER DATABASE {} RENAME TO {}", unfinished, name))


def _discard(server: psycopg.Connection, *, keep: str) -> None:
    """Drop the templates of earlier migrations."""
    names = server.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX]
    ).fetchall()
    for (name,) in names:
        if name != keep:
            server.execute(_query("DROP DATABASE {} WITH (FORCE)", name))


def _copy(server: psycopg.Connection, template: str, name: str) -> None:
    server.execute(_query("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))
    server.execute(_query("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template))


def _exists(server: psycopg.Connection, name: str) -> bool:
    return server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def _query(text: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))


def _server() -> psycopg.Connection:
    """A connection for creating and dropping databases, which no transaction may do."""
    parameters = connection.get_connection_params() | {"dbname": "postgres"}
    wanted = ("dbname", "host", "port", "user", "password")
    return psycopg.connect(autocommit=True, **{key: parameters[key] for key in wanted if parameters.get(key)})


def _use(name: str) -> None:
    connections.close_all()
    connection.settings_dict["NAME"] = settings.DATABASES["default"]["NAME"] = name


def _is_ours(app: AppConfig) -> bool:
    return Path(app.path).is_relative_to(settings.BASE_DIR) and not Path(app.path).is_relative_to(
        settings.BASE_DIR / ".venv"
    )


def _digest(configs: Iterable[AppConfig]) -> str:
    """A short hash of all the migrations of these apps."""
    digest = hashlib.sha256()
    for app in sorted(configs, key=lambda app: app.label):
        for file in sorted(Path(app.path).glob("migrations/**/*")):
            if file.is_file() and file.suffix in (".py", ".sql"):
                digest.update(file.name.encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:10]
