"""Texts of DOUBLE and DECIMAL values in a MySQL or MariaDB log, as columns and JSON documents hold them."""

from __future__ import annotations

from collections.abc import Callable


def double_text(value: float) -> bytes:
    """As the server prints it: the shortest text that reads back as the same, with an exponent outside of 1e-15 to 1e15."""
    text = repr(value)
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    digits, _, exponent = text.partition("e")
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    number = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(number)
    number = number.rstrip("0")
    if not number:
        return f"{sign}0".encode()
    if point < -14 or point > 15:
        rest = "." + number[1:] if len(number) > 1 else ""
        return f"{sign}{number[0]}{rest}e{point - 1}".encode()
    if point <= 0:
        return f"{sign}0.{'0' * -point}{number}".encode()
    if point >= len(number):
        return f"{sign}{number}{'0' * (point - len(number))}".encode()
    return f"{sign}{number[:point]}.{number[point:]}".encode()


_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes of a group of so many decimal digits."""


def decimal_bytes(precision: int, scale: int) -> int:
    """Bytes of a DECIMAL: groups of nine digits on both sides of the point, counted from it."""
    whole = precision - scale
    return whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + scale // 9 * 4 + _DIGIT_BYTES[scale % 9]


def decimal_groups(precision: int, scale: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The groups in front of the point and behind it: (digits, bytes) each."""
    whole = precision - scale
    left = [whole % 9] * (whole % 9 > 0) + [9] * (whole // 9)
    right = [9] * (scale // 9) + [scale % 9] * (scale % 9 > 0)
    return [(digits, _DIGIT_BYTES[digits]) for digits in left], [(digits, _DIGIT_BYTES[digits]) for digits in right]


def decimal(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """The first bit tells the sign; all bytes of a negative one are inverted."""
    left, right = decimal_groups(precision, scale)
    groups, size = left + right, decimal_bytes(precision, scale)
    ones = (1 << 8 * size) - 1
    top = 1 << (8 * size - 1)

    def convert(value: bytes) -> bytes:
        packed = int.from_bytes(value, "big") ^ top
        negative = packed & top
        raw = (packed ^ ones if negative else packed).to_bytes(size, "big")
        digits, at = [], 0
        for count, width in groups:
            digits.append(f"{int.from_bytes(raw[at : at + width], 'big'):0{count}d}")
            at += width
        text = "".join(digits[: len(left)]).lstrip("0") or "0"
        return f"{'-' if negative else ''}{text}{'.' if scale else ''}{''.join(digits[len(left) :])}".encode()

    return convert
