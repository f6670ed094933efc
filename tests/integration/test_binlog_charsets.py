"""Every code of every character set that MySQL has: we read it as the server does, or not at all (P8)."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.clusters import MysqlServer
from headwater.wire import binlog_charsets

SINGLE = [bytes((byte,)) for byte in range(256)]
PAIRS = [bytes((lead, trail)) for lead in range(0x80, 0x100) for trail in (*range(0x30, 0x3A), *range(0x40, 0x100))]
TRIPLES = [bytes((0x8F, row, cell)) for row in (0xA2, 0xB0, 0xF3, 0xF4, 0xF5, 0xFE) for cell in range(0xA1, 0xFF)]
FOURS = [bytes((one, 0x31, three, 0x37)) for one in (0x81, 0x84, 0x90, 0xE3) for three in (0x81, 0xF4, 0xFE)] + [b"\x815\xf47"]
EXCEPTIONS = {
    "big5": [bytes.fromhex(code) for code in ("a15a", "a1c3", "a1c5", "a1fe", "a240", "a2cc", "a2ce", "f9d6", "f9dc")],
    "eucjpms": [b"\xa1\xc1", b"\xad\xa1", b"\xf5\xa1", b"\xfe\xfe"], "gb18030": [b"\xa8\xbc"], "sjis": [b"\x81_"], "ujis": [b"\xa1\xc0"],
}  # fmt: skip
"""Where the server differs from Python. (All codes were compared once; that takes half a minute.)"""
SAMPLES = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}


def codes(charset: str, longest: int) -> list[bytes]:
    if charset in SAMPLES:
        return [character.encode(SAMPLES[charset]) for character in "a\x00é€\uffff" + ("" if charset == "ucs2" else "𝄞")]
    if longest == 1:
        return SINGLE
    return SINGLE[:128] + PAIRS[::31] + EXCEPTIONS.get(charset, []) + (TRIPLES if longest == 3 else FOURS if longest == 4 else [])


def asked(server: MysqlServer, charset: str, wanted: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(code, its UTF-8 by the server), for those that are codes."""
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        for start in range(0, len(wanted), 4000):
            part = wanted[start : start + 4000]
            made = (f"CONVERT(X'{code.hex()}' USING {charset})" for code in part)
            cursor.execute(
                "SELECT "
                + ", ".join(
                    f"IF(HEX({c}) = '{code.hex().upper()}', HEX(CONVERT({c} USING utf8mb4)), NULL)"
                    for c, code in zip(made, part, strict=True)
                )
            )
            for code, found in zip(part, cursor.fetchone(), strict=True):
                if found is not None:
                    yield code, bytes.fromhex(found)


def test_every_code_is_read_as_the_server_reads_it(mysql_like: MysqlServer) -> None:
    with mysql_like.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT character_set_name, maxlen FROM information_schema.character_sets WHERE character_set_name <> 'binary'")
        charsets = {str(name): int(longest) for name, longest in cursor.fetchall()}
    wrong, unread = [], []
    for charset, longest in charsets.items():
        convert = binlog_charsets.converter(charset)
        if convert is None:
            continue
        for code, theirs in asked(mysql_like, charset, codes(charset, longest)):
            try:
                ours = convert(code)
            except UnicodeDecodeError:
                unread += [] if set(theirs) == {0x3F} else [(charset, code.hex(), theirs.hex())]
                continue
            wrong += [] if ours == theirs else [(charset, code.hex(), theirs.hex(), ours.hex())]
    assert wrong == []
    assert unread == []
