"""MySQL's character sets: from the bytes of a column to UTF-8, as the server itself converts them.

Python's codecs do most of it. Where they and the server differ, the server is right: what a log brings is to be what a SELECT shows. The
differences stand here by the bytes that they concern; the tests compare every code with running servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Convert = Callable[[bytes], bytes]

AS_IT_IS = frozenset(("utf8mb4", "utf8mb3", "utf8", "ascii"))
"""Character sets whose bytes are UTF-8 already."""

_CODECS = {
    "big5": "big5", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256", "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852",
    "cp866": "cp866", "cp932": "cp932", "eucjpms": "euc_jp", "euckr": "cp949", "gb18030": "gb18030", "gb2312": "gb2312", "gbk": "gbk",
    "greek": "iso8859-7", "hebrew": "iso8859-8", "hp8": "hp_roman8", "koi8r": "koi8-r", "koi8u": "koi8-u", "latin1": "cp1252",
    "latin2": "iso8859-2", "latin5": "iso8859-9", "latin7": "iso8859-13", "macce": "mac_latin2", "macroman": "mac_roman",
    "sjis": "shift_jis", "swe7": "ascii", "tis620": "tis_620", "ucs2": "utf-16-be", "ujis": "euc_jp", "utf16": "utf-16-be",
    "utf16le": "utf-16-le", "utf32": "utf-32-be",
}  # fmt: skip
"""MySQL's name -> Python's."""

_SEVERAL_BYTES = frozenset(
    ("big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ucs2", "ujis", "utf16", "utf16le", "utf32")
)

_UPPER_HALVES = {
    "armscii8": (
        "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a"
        "\x9b\x9c\x9d\x9e\x9f\xa0\u2741\xa7\u0589)(\xbb\xab\u2014.\u055d,-\u055f\u2026\u055c\u055b\u055e\u0531\u0561"
        "\u0532\u0562\u0533\u0563\u0534\u0564\u0535\u0565\u0536\u0566\u0537\u0567\u0538\u0568\u0539\u0569\u053a\u056a"
        "\u053b\u056b\u053c\u056c\u053d\u056d\u053e\u056e\u053f\u056f\u0540\u0570\u0541\u0571\u0542\u0572\u0543\u0573"
        "\u0544\u0574\u0545\u0575\u0546\u0576\u0547\u0577\u0548\u0578\u0549\u0579\u054a\u057a\u054b\u057b\u054c\u057c"
        "\u054d\u057d\u054e\u057e\u054f\u057f\u0550\u0580\u0551\u0581\u0552\u0582\u0553\u0583\u0554\u0584\u0555\u0585"
        "\u0556\u0586\u2019'"
    ),
    "dec8": (
        "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a"
        "\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2\xa3?\xa5?\xa7\xa4\xa9\xaa\xab????\xb0\xb1\xb2\xb3?\xb5\xb6\xb7?\xb9\xba\xbb"
        "\xbc\xbd?\xbf\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf?\xd1\xd2\xd3\xd4\xd5\xd6\u0152"
        "\xd8\xd9\xda\xdb\xdc\u0178?\xdf\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef?\xf1\xf2\xf3"
        "\xf4\xf5\xf6\u0153\xf8\xf9\xfa\xfb\xfc\xff??"
    ),
    "geostd8": (
        "\u20ac?\u201a?\u201e\u2026\u2020\u2021?\u2030?\u2039?????\u2018\u2019\u201c\u201d\u2022\u2013\u2014???\u203a??"
        "??\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba"
        "\xbb\xbc\xbd\xbe\xbf\u10d0\u10d1\u10d2\u10d3\u10d4\u10d5\u10d6\u10f1\u10d7\u10d8\u10d9\u10da\u10db\u10dc\u10f2"
        "\u10dd\u10de\u10df\u10e0\u10e1\u10e2\u10f3\u10e3\u10e4\u10e5\u10e6\u10e7\u10e8\u10e9\u10ea\u10eb\u10ec\u10ed"
        "\u10ee\u10f4\u10ef\u10f0\u10f5???????????????????????\u2116??"
    ),
    "keybcs2": (
        "\u010c\xfc\xe9\u010f\xe4\u010e\u0164\u010d\u011b\u011a\u0139\xcd\u013e\u013a\xc4\xc1\xc9\u017e\u017d\xf4\xf6"
        "\xd3\u016f\xda\xfd\xd6\xdc\u0160\u013d\xdd\u0158\u0165\xe1\xed\xf3\xfa\u0148\u0147\u016e\xd4\u0161\u0159\u0155"
        "\u0154\xbc\xa1\xab\xbb\u2591\u2592\u2593\u2502\u2524\u2561\u2562\u2556\u2555\u2563\u2551\u2557\u255d\u255c"
        "\u255b\u2510\u2514\u2534\u252c\u251c\u2500\u253c\u255e\u255f\u255a\u2554\u2569\u2566\u2560\u2550\u256c\u2567"
        "\u2568\u2564\u2565\u2559\u2558\u2552\u2553\u256b\u256a\u2518\u250c\u2588\u2584\u258c\u2590\u2580\u03b1\xdf"
        "\u0393\u03c0\u03a3\u03c3\xb5\u03c4\u03a6\u0398\u03a9\u03b4\u221e\u03c6\u03b5\u2229\u2261\xb1\u2265\u2264\u2320"
        "\u2321\xf7\u2248\xb0\u2219\xb7\u221a\u207f\xb2\u25a0\xa0"
    ),
}
"""Character sets that Python does not know: their characters from 128 on."""

_BYTES: Mapping[str, Mapping[int, str]] = {
    "cp1256": dict.fromkeys((138, 143, 152, 154, 159, 170, 192, 255), "?"),
    "cp866": {252: "\u207f", 253: "\xb2"},
    "greek": {161: "\u02bd", 162: "\u02bc", 164: "?", 165: "?", 170: "?"},
    "hebrew": {175: "\u203e"},
    "koi8u": {149: "\u2022"},
    "latin1": {byte: chr(byte) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)},
    "swe7": {127: "?"} | dict(zip(b"@[\\]^`{|}~", "\xc9\xc4\xd6\xc5\xdc\xe9\xe4\xf6\xe5\xfc", strict=True)),
    "tis620": dict.fromkeys((160, 219, 220, 221, 222, 252, 253, 254, 255), "\ufffd"),
}
"""Single bytes that the server reads differently. A byte without a character is a question mark."""

_BIG5 = {bytes.fromhex(code): "\ufffd" for code in ("a15a", "a1c3", "a1c5", "a1fe", "a240", "a2cc", "a2ce")}
_BIG5 |= {bytes((0xF9, 0xD6 + i)): character for i, character in enumerate("\u7881\u92b9\u88cf\u58bb\u6052\u7ca7\u5afa")}

_GB18030 = {b"\xa8\xbc": "\u1e3f", b"\x815\xf47": "\ue7c7"}

_IBM = (
    "\u2170\u2171\u2172\u2173\u2174\u2175\u2176\u2177\u2178\u2179\u2160\u2161\u2162\u2163\u2164\u2165"
    "\u2166\u2167\u2168\u2169\uff07\uff02\u3231\u2116\u2121\u70bb\u4efc\u50f4\u51ec\u5307\u5324\ufa0e"
    "\u548a\u5759\ufa0f\ufa10\u589e\u5bec\u5cf5\u5d53\ufa11\u5fb7\u6085\u6120\u654e\u663b\u6665\ufa12"
    "\uf929\u6801\ufa13\ufa14\u6a6b\u6ae2\u6df8\u6df2\u7028\ufa15\ufa16\u7501\u7682\u769e\ufa17\u7930"
    "\ufa18\ufa19\ufa1a\ufa1b\u7ae7\ufa1c\ufa1d\u7da0\u7dd6\ufa1e\u8362\ufa1f\u85b0\ufa20\ufa21\u8807"
    "\ufa22\u8b7f\u8cf4\u8d76\ufa23\ufa24\ufa25\u90de\ufa26\u9115\ufa27\ufa28\u9592\uf9dc\ufa29\u973b"
    "\u974d\u9751\ufa2a\ufa2b\ufa2c\u999e\u9ad9\u9b72\ufa2d\u9ed1"
)
"""What eucjpms has from 8F F3 F3 on, up to the end of row F4."""


class UnknownCharset(ValueError):
    """A character set that we can't read."""


def converter(charset: str) -> Convert | None:
    """Makes UTF-8 of a column's bytes; None where they are UTF-8 already.

    Raises:
        UnknownCharset: we can't read it. What the converter itself can't read is a UnicodeDecodeError.
    """
    if charset in AS_IT_IS:
        return None
    if charset in _UPPER_HALVES:
        return _single_bytes(bytes(range(128)).decode() + _UPPER_HALVES[charset])
    codec = _CODECS.get(charset)
    if codec is None:
        raise UnknownCharset(f"the character set {charset} can't be read")
    if charset not in _SEVERAL_BYTES:
        known = _BYTES.get(charset, {})
        return _single_bytes("".join(known.get(byte) or bytes((byte,)).decode(codec, "ignore") or "?" for byte in range(256)))
    if charset in _CODES:
        pattern, convert = _CODES[charset]
        return _by_code(re.compile(pattern, re.DOTALL), convert)
    return lambda value: value.decode(codec).encode()


def _single_bytes(table: str) -> Convert:
    characters = [character.encode() for character in table]
    plain = table[:128].encode() == bytes(range(128))
    return lambda value: value if plain and value.isascii() else b"".join([characters[byte] for byte in value])


def _by_code(pattern: re.Pattern[bytes], convert: Callable[[bytes], str]) -> Convert:
    """For character sets of several bytes with exceptions: code by code."""
    known: dict[bytes, bytes] = {}

    def one(found: re.Match[bytes]) -> bytes:
        code = found[0]
        made = known.get(code)
        if made is None:
            made = known[code] = convert(code).encode()
        return made

    return lambda value: value if value.isascii() else pattern.sub(one, value)


def _private(code: bytes) -> str:
    """The rows of EUC that are for users, F5 to FE, lie in Unicode's private area; those behind 8F come after the others."""
    row, cell = code[-2] - 0xF5, code[-1] - 0xA1
    return chr(0xE000 + (940 if len(code) == 3 else 0) + 94 * row + cell)


def _is_private(code: bytes) -> bool:
    return len(code) > 1 and code[0] != 0x8E and code[-2] >= 0xF5 and code[-1] >= 0xA1


def _ujis(code: bytes) -> str:
    if _is_private(code):
        return _private(code)
    return "\\" if code == b"\xa1\xc0" else code.decode("euc_jp")


def _eucjpms(code: bytes) -> str:
    """Microsoft's: two bytes are cp932's characters, three bytes JIS X 0212 with IBM's own."""
    if _is_private(code):
        return _private(code)
    if len(code) == 2 and code[0] != 0x8E and code[1] > 0xA0:
        row, cell = code[0] - 0xA1, code[1] - 0xA1
        lead = 0x81 + (row >> 1)
        trail = cell + 0x9F if row & 1 else cell + 0x40 + (cell > 62)
        return bytes((lead + (0x40 if lead > 0x9F else 0), trail)).decode("cp932")
    if len(code) == 3 and b"\xf3\xf3" <= code[1:] <= b"\xf4\xfe":
        return _IBM[(code[1] - 0xF3) * 94 + code[2] - 0xA1 - 82]
    return {b"\x8f\xa2\xb7": "\uff5e", b"\x8f\xa2\xc3": "\uffe4"}.get(code) or code.decode("euc_jp")


_EUC = rb"\x8f..|\x8e.|[\x80-\xff]."
_CODES: dict[str, tuple[bytes, Callable[[bytes], str]]] = {
    "big5": (rb"[\x80-\xff].", lambda code: _BIG5.get(code) or code.decode("big5")),
    "eucjpms": (_EUC, _eucjpms),
    "gb18030": (rb"[\x81-\xff][0-9]..|[\x80-\xff].", lambda code: _GB18030.get(code) or code.decode("gb18030")),
    "sjis": (rb"[\x81-\x9f\xe0-\xff].|[\x80-\xff]", lambda code: "\\" if code == b"\x81_" else code.decode("shift_jis")),
    "ujis": (_EUC, _ujis),
}  # fmt: skip
"""By character set: what a code of more than seven bits looks like, and what it is."""
