"""Connections to read by, as many as there are readers at one time.

A slow read in one thread (a check of the whole file, a ranked search) holds up no quick one in
another. The connection returned last is lent first, so that a thread alone always has the same one,
with its statements prepared and its pages at hand.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sculptor.errors import StoreError
from sculptor.store._opening import read_error


class Readers:
    """Lends connections, one to each reader at work."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._free = [connect()]
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for one read.

        Raises:
            StoreCorrupt: SQLite finds the file damaged.
            StoreError: the store is closed, or cannot be read.
        """
        if self._closed:
            raise StoreError("The store is closed.")
        try:
            connection = self._take()
        except sqlite3.Error as error:
            raise read_error(error) from error
        try:
            yield connection
        except sqlite3.Error as error:
            raise read_error(error) from error
        finally:
            self._free.append(connection)
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close all connections, those lent as soon as they come back; again is no error."""
        self._closed = True
        while self._free:
            self._free.pop().close()

    def _take(self) -> sqlite3.Connection:
        try:
            return self._free.pop()
        except IndexError:
            return self._connect()
