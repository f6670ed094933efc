"""What errors of MySQL and MariaDB mean, and what of them may be said.

The texts of these servers quote values of rows ("Duplicate entry '...'", "Incorrect integer value: '...'"). So only the texts of a few
errors are shown, which name nothing but objects of the database; of all others it is the number (P10).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pymysql.err import Error, InternalError, OperationalError

LOST = 2013
"""The driver's number for a connection that broke, or timed out, while an answer was waited for."""

UNAVAILABLE = frozenset({1040, 1041, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1317, 1836, 1927, 3168, 3169, 4031})
"""Errors that pass: too many connections, shutdowns, lost or killed sessions, lock waits."""

NOT_LET_IN = frozenset({1044, 1045, 1049, 1129, 1130, 1227, 1251, 1275, 1524, 1698, 1820, 1862, 2026, 2027, 2059, 2061, 3118, 3159, 4151})
"""Errors that mean a wrong or missing password, right, plugin or encryption."""

REFUSED_STATES = ("0A", "21", "22", "23", "28", "3D", "42", "44")
"""Classes of SQLSTATE that repeating does not cure."""

SHOWN = UNAVAILABLE | NOT_LET_IN | frozenset({1046, 1109, 1141, 1142, 1143, 1146, 1147, 1193, 1236, 1356, 1370, 1381, 1548, 1666, 3573})
"""Errors whose texts name objects of the database, and never values."""


class NoSuchServer(Exception):
    """What answers at an address does not speak MySQL's protocol, or nobody does. `str()` is a sentence; `passing` where it may pass."""

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def number_of(error: Error) -> int:
    """The server's or the driver's number of an error; 0 where it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def refuses(error: Error) -> bool:
    """True where repeating does not help: the server refuses what we are, or what we ask."""
    number = number_of(error)
    if number in UNAVAILABLE:
        return False
    return number in NOT_LET_IN or (error.sqlstate or "")[:2] in REFUSED_STATES


def message_of(error: Error) -> str:
    """What the server says, without anything that may be a value of a row."""
    number = number_of(error)
    if number in SHOWN or 2000 <= number < 3000:  # from 2000 on the texts are the driver's
        return f"{error.args[1] if len(error.args) > 1 else type(error).__name__} (error {number})"
    state = f", SQLSTATE {error.sqlstate}" if error.sqlstate else ""
    return f"the server reported error {number}{state}; its text is not shown because it may hold values of rows"


@contextmanager
def greeted(place: str, timeout_s: int) -> Iterator[None]:
    """Within it a session is opened; errors that only something else than a MySQL can cause become NoSuchServer."""
    stranger = f"What answers at {place} is not a MySQL or MariaDB server. Check host and port."
    try:
        yield
    except InternalError as error:  # the packets are numbered otherwise
        raise NoSuchServer(stranger) from error
    except (struct.error, LookupError, NameError, TypeError, ValueError) as error:  # the driver takes every greeting to be well-formed
        raise NoSuchServer(stranger) from error
    except OperationalError as error:
        if number_of(error) == LOST and isinstance(error.__context__, TimeoutError):
            what = f"{place} takes connections, but no word of a MySQL or MariaDB server came within {timeout_s} s."
            raise NoSuchServer(what, passing=True) from error
        raise
