"""The demo's database: made when missing, recognised by a mark, and never somebody's real one."""

import hashlib
from pathlib import Path

import psycopg
from psycopg import sql

from adminops.demo.postgres import EmbeddedPostgres

NAME = "backoffice"
# Kept as the database's comment: what carries it was filled by the demo, and may be emptied by it.
MARK = "Made by the demo of the billing back office; `make demo-reset` empties it."


class NotTheDemos(Exception):
    """The database at DATABASE_URL holds something that the demo has not put there."""


def create(server: EmbeddedPostgres) -> str:
    """Make the demo's database on the embedded server, if it is not there yet; its address."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
    return server.url(NAME)


def claim(url: str) -> bool:
    """Mark an empty database as the demo's; whether it has been migrated before.

    Raises NotTheDemos when it carries no mark and is not empty.
    """
    with psycopg.connect(url) as connection:
        if not _is_marked(connection):
            if _has_tables(connection):
                raise NotTheDemos(
                    "The database at DATABASE_URL has tables in it that the demo did not make. "
                    "Give the demo an empty one, or unset DATABASE_URL: it then starts a PostgreSQL of its own."
                )
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, MARK))
        return _has_tables(connection)


def empty(url: str) -> None:
    """Drop everything the demo has put into a database. Raises NotTheDemos when it carries no mark."""
    with psycopg.connect(url) as connection:
        if not _is_marked(connection):
            raise NotTheDemos("The database at DATABASE_URL is not the demo's: it has been left as it is.")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def migrations_digest(root: Path) -> str:
    """A hash of everything that decides what `migrate` does: our migrations and the pinned packages."""
    digest = hashlib.sha256()
    for file in sorted([*root.glob("*/migrations/*.py"), root / "requirements" / "runtime.txt"]):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _is_marked(connection: psycopg.Connection) -> bool:
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    row = connection.execute(query).fetchone()
    return row is not None and row[0] == MARK


def _has_tables(connection: psycopg.Connection) -> bool:
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'public' LIMIT 1"
    return connection.execute(query).fetchone() is not None
