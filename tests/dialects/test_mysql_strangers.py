"""What answers where a MySQL or MariaDB server is looked for, and is none: a sentence with the place, for sources and targets alike."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from headwater.clusters import MysqlServer, PrivatePostgres
from headwater.dialects.mysql_session import Server
from headwater.domain.errors import HeadwaterError
from headwater.sources.mysql import MysqlConfig, MysqlSource
from headwater.targets.mysql import MysqlTarget

GREETINGS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "SMTP": b"220 mail.example.org ESMTP Postfix\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "an older protocol": b"\x05\x00\x00\x00\x09old\x00",
    "half a greeting": b"\x4a\x00\x00\x00\x0a8.0",
    "zeros": bytes(200),
    "an endless packet": b"\xff\xff\xff\x00\x0a" + bytes(1000),
}
PASSWORD = "t0p secret"


@contextmanager
def stranger(greeting: bytes) -> Iterator[int]:
    """A server that says this to everybody and hangs up; one without a greeting says nothing and waits. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as clients:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = clients.enter_context(listener.accept()[0])
                    if greeting:
                        client.sendall(greeting)
                        client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def source_at(port: int, tls: bool = False, user: str = "u") -> Callable[[], None]:
    return MysqlSource(MysqlConfig("id", "127.0.0.1", "shop", user, port, PASSWORD, tls, connect_timeout_s=1)).test


def target_at(port: int, tls: bool = False, user: str = "u") -> Callable[[], None]:
    return MysqlTarget(Server("127.0.0.1", port, "shop", user, PASSWORD, tls, connect_timeout_s=1)).test


def refusal(test: Callable[[], None], port: int) -> HeadwaterError:
    """The error of a connection test, which names the place and keeps the password."""
    with pytest.raises(HeadwaterError) as caught:
        test()
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("greeting", GREETINGS)
@pytest.mark.parametrize("at", [source_at, target_at], ids=["source", "target"])
def test_another_kind_of_server_is_told(at: Callable[[int], Callable[[], None]], greeting: str) -> None:
    with stranger(GREETINGS[greeting]) as port:
        error = refusal(at(port), port)
    assert "not a MySQL or MariaDB server" in str(error) or "Lost connection" in str(error), greeting
    if greeting in ("SSH", "SMTP", "HTTP"):
        assert error.kind in ("source_refused", "target_refused"), "waiting does not make it one"


@pytest.mark.parametrize("at", [source_at, target_at], ids=["source", "target"])
def test_a_server_that_says_nothing_is_told_and_tried_again(at: Callable[[int], Callable[[], None]]) -> None:
    with stranger(b"") as port:
        error = refusal(at(port), port)
    assert "no word of a MySQL or MariaDB server came within 1 s" in str(error)
    assert error.kind in ("source_unavailable", "target_unavailable")


def test_a_postgresql_server_is_told(newest_cluster: PrivatePostgres) -> None:
    """It waits for us to speak first."""
    assert "no word of a MySQL or MariaDB server" in str(refusal(source_at(newest_cluster.port), newest_cluster.port))


@pytest.mark.parametrize("at", [source_at, target_at], ids=["source", "target"])
def test_nobody_there_a_wrong_password_and_tls_that_is_not_offered(at: Callable[..., Callable[[], None]], mariadb: MysqlServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    assert refusal(at(port), port).kind in ("source_unavailable", "target_unavailable")
    wrong = refusal(at(mariadb.port, user="root"), mariadb.port)
    assert "Access denied" in str(wrong)
    assert wrong.kind in ("source_refused", "target_refused")
    plain = refusal(at(mariadb.port, tls=True), mariadb.port)
    assert "SSL" in str(plain)
    assert plain.kind in ("source_refused", "target_refused")


@pytest.mark.parametrize("at", [source_at, target_at], ids=["source", "target"])
def test_a_user_who_must_encrypt_is_let_in_encrypted(at: Callable[..., Callable[[], None]], mysql: MysqlServer) -> None:
    with mysql.connect() as session, session.cursor() as cursor:
        cursor.execute(f"CREATE USER tls@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL")
        cursor.execute("CREATE DATABASE IF NOT EXISTS shop")
        cursor.execute("GRANT ALL ON shop.* TO tls@'%'")
        try:
            at(mysql.port, user="tls")()
            at(mysql.port, tls=True, user="tls")()
        finally:
            cursor.execute("DROP USER tls@'%'")
            cursor.execute("DROP DATABASE shop")
