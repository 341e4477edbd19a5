"""Counters that all processes share."""

import threading

import pytest
from django.core.cache import caches
from django.db import connection

from adminops.models import Counter

pytestmark = pytest.mark.django_db(transaction=True)


def test_counting_at_once_loses_nothing() -> None:
    cache = caches["ratelimit"]
    cache.add("seats", 0, 60)
    barrier = threading.Barrier(8)

    def count() -> None:
        barrier.wait()
        for _ in range(25):
            cache.incr("seats")
        connection.close()

    people = [threading.Thread(target=count) for _ in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert cache.get("seats") == 200


def test_adding_sets_once_until_it_expires() -> None:
    cache = caches["ratelimit"]
    assert cache.add("seats", 1, 60) is True
    assert cache.add("seats", 5, 60) is False
    assert cache.get("seats") == 1
    cache.set("seats", 9, -1)
    assert cache.get("seats") is None
    with pytest.raises(ValueError, match="no counter"):
        cache.incr("seats")
    assert cache.add("seats", 2, 60) is True
    assert cache.get("seats") == 2


def test_expired_counters_are_forgotten() -> None:
    cache = caches["ratelimit"]
    cache.set("old", 1, -1)
    cache.set("new", 1, 60)
    cache.forget_expired()  # type: ignore[attr-defined]
    assert [row.key.rpartition(":")[2] for row in Counter.objects.all()] == ["new"]
