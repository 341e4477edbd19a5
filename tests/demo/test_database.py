"""The demo and a database somebody gives it: never somebody's real one."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from adminops.demo import database


@pytest.fixture
def url() -> Iterator[str]:
    """The address of an empty database."""
    name = f"given_to_the_demo_{os.getpid()}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield make_conninfo(os.environ["DATABASE_URL"], dbname=name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def test_an_empty_database_is_taken_and_recognised_afterwards(url: str) -> None:
    assert database.claim(url) is False
    execute(url, "CREATE TABLE django_migrations ()")
    assert database.claim(url) is True


def test_a_database_with_tables_of_somebody_else_is_refused_and_left_alone(url: str) -> None:
    execute(url, "CREATE TABLE customers ()")
    with pytest.raises(database.NotTheDemos):
        database.claim(url)
    with pytest.raises(database.NotTheDemos):
        database.empty(url)
    assert execute(url, "SELECT count(*) FROM customers") == [(0,)]


def test_a_reset_empties_the_demos_database(url: str) -> None:
    database.claim(url)
    execute(url, "CREATE TABLE organizations ()")
    database.empty(url)
    assert database.claim(url) is False
