"""The one thread that writes to a SQLite store.

Callers leave write lists in a queue. The thread takes all that wait and commits them together: the
more callers, the fewer commits. Where one of them fails, all are taken back and written again with
a savepoint each, so that the one takes nothing else with it; that is rare, and the savepoints of
every list would be a quarter of its cost. A future is resolved after the commit and never before.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

from sculptor.errors import StoreError
from sculptor.store._opening import write_error
from sculptor.store.records import Record
from sculptor.store.statements import apply

_MOST_TOGETHER = 256
"""Lists in one transaction; more only make the first of them wait."""

Work = Callable[[sqlite3.Cursor], None]


class Writer:
    """Runs write lists on its own connection, in the order they came."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._queue: SimpleQueue[tuple[Work, Future[None]] | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sculptor-store", daemon=True)
        self._thread.start()

    def write(self, records: Sequence[Record]) -> Future[None]:
        """Queue a write list; see ``Store.write``."""
        return self.submit(lambda cursor: apply(cursor, records))

    def submit(self, work: Work) -> Future[None]:
        """Queue anything to be done inside a transaction."""
        future: Future[None] = Future()
        # A caller that goes away cancels its future; what it asked for is written all the same.
        future.set_running_or_notify_cancel()
        with self._guard:
            if self._closed:
                future.set_exception(StoreError("The store is closed."))
            else:
                self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Finish what is queued, then close the connection; again is no error."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, is_last = self._waiting(first)
            self._commit(batch)
            if is_last:
                return

    def _waiting(
        self, first: tuple[Work, Future[None]]
    ) -> tuple[list[tuple[Work, Future[None]]], bool]:
        batch = [first]
        with suppress(Empty):
            while len(batch) < _MOST_TOGETHER:
                item = self._queue.get_nowait()
                if item is None:
                    return batch, True
                batch.append(item)
        return batch, False

    def _commit(self, batch: Sequence[tuple[Work, Future[None]]]) -> None:
        """Do a batch in one transaction and resolve its futures."""
        failed: dict[Future[None], StoreError] = {}
        if not self._commit_all(batch):
            try:
                self._commit_each(batch, failed)
            except sqlite3.Error:
                self._roll_back()
                failed = self._commit_apart(batch)
        for _, future in batch:
            if future in failed:
                future.set_exception(failed[future])
            else:
                future.set_result(None)

    def _commit_all(self, batch: Sequence[tuple[Work, Future[None]]]) -> bool:
        """Do a batch as it is; where anything in it fails nothing is kept, and it is false."""
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            for work, _ in batch:
                work(self._cursor)
            self._cursor.execute("COMMIT")
        except Exception:
            self._roll_back()
            return False
        return True

    def _commit_each(
        self, batch: Sequence[tuple[Work, Future[None]]], failed: dict[Future[None], StoreError]
    ) -> None:
        """Do a batch with a savepoint for each list; note in ``failed`` which were taken back.

        Raises:
            sqlite3.Error: nothing of the batch was kept.
        """
        self._cursor.execute("BEGIN IMMEDIATE")
        for work, future in batch:
            error = self._attempt(work)
            if error is not None:
                failed[future] = error
        self._cursor.execute("COMMIT")

    def _commit_apart(
        self, batch: Sequence[tuple[Work, Future[None]]]
    ) -> dict[Future[None], StoreError]:
        """Do every list in a transaction of its own; return which failed.

        A list too large for the disk takes the whole transaction back, and those beside it fit.
        """
        failed: dict[Future[None], StoreError] = {}
        for work, future in batch:
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
                work(self._cursor)
                self._cursor.execute("COMMIT")
            except Exception as error:
                self._roll_back()
                failed[future] = error if isinstance(error, StoreError) else write_error(error)
        return failed

    def _attempt(self, work: Work) -> StoreError | None:
        """Do one list inside the open transaction; return why it was taken back, if it was.

        Raises:
            sqlite3.Error: SQLite took the whole transaction back, as it does on a full disk.
        """
        self._cursor.execute("SAVEPOINT list")
        try:
            work(self._cursor)
        except Exception as error:
            if not self._connection.in_transaction:
                raise sqlite3.OperationalError(str(error)) from error
            self._cursor.execute("ROLLBACK TO list")
            self._cursor.execute("RELEASE list")
            return error if isinstance(error, StoreError) else write_error(error)
        self._cursor.execute("RELEASE list")
        return None

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
