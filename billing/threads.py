"""The same work for many things at a time, where what each waits for is Stripe."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence

from django.db import connections


def in_threads[T, R](items: Sequence[T], do: Callable[[T], R], *, threads: int) -> Generator[R, None, None]:
    """Yield what `do` returns for each item, as it comes; `do` must not raise.

    Closed early, by Ctrl-C or an error, it lets each thread finish the item it is at, and begins no other.
    """
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[R] = queue.SimpleQueue()
    for item in items:
        todo.put(item)
    workers = [
        threading.Thread(target=_work, args=(todo, done, do), daemon=True)
        for _number in range(min(threads, len(items)))
    ]
    for worker in workers:
        worker.start()
    try:
        for _item in items:
            yield done.get()
    finally:
        while not todo.empty():
            try:
                todo.get_nowait()
            except queue.Empty:
                break
        for worker in workers:
            worker.join()


def _work[T, R](todo: queue.SimpleQueue[T], done: queue.SimpleQueue[R], do: Callable[[T], R]) -> None:
    """A thread's work: one item after another until none is left, over a database connection of its own."""
    try:
        while True:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            done.put(do(item))
    finally:
        connections.close_all()
