"""Work on many things at once, and keep their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(pool: ThreadPoolExecutor, items: Iterator[_Item]) -> Iterator[_Item]:
    """Return items, each of which is got while the one before it is worked on."""
    coming = pool.submit(_next, items)
    while found := coming.result():
        coming = pool.submit(_next, items)
        yield found[0]


def _next(items: Iterator[_Item]) -> tuple[_Item, ...]:
    # A StopIteration cannot leave a thread.
    for item in items:
        return (item,)
    return ()


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    most: int,
) -> Iterator[tuple[_Item, _Result]]:
    """Return items with what comes of each, in their order.

    Args:
        pool: Does the work.
        work: Is given each item; with `most` 1, never two of them at the same time.
        items: Are taken as they are needed, so that they need not all be in memory.
        most: So many are worked on, or done and not taken yet, while the next is waited for.
    """
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    for item in items:
        if len(waiting) >= most:
            first, future = waiting.popleft()
            yield first, future.result()
        waiting.append((item, pool.submit(work, item)))
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()
