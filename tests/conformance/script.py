# SPDX-License-Identifier: BSD-2-Clause
"""Reads tests/conformance/script.txt, whose first lines say what its lines mean."""

import functools
import re
import struct

SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
MASK = 2**64 - 1
PERIOD = 65521
CHECK = re.compile(r"(\w+)(=>|>=|<=|!=|=|>|<|~)(.*)", re.DOTALL)


class Wrong(Exception):
    """A line that is not as the script's language wants it, or that came out otherwise."""


class Line:
    """One line: where it stands, whether it is for the wire only, what it does, what it expects."""

    def __init__(self, number, text):
        self.number, self.text = number, text
        words, arrow, expected = text.partition(" -> ")
        words = words.split()
        self.wire = words[0] == "wire"
        words = words[self.wire:]
        self.until = words[0] == "until"
        words = words[self.until:]
        self.times = int(words[1]) if words[0] == "times" else 1
        words = words[2 * (words[0] == "times"):]
        self.conn = int(words[0][1:]) if words[0].startswith("@") else 1
        words = words[words[0].startswith("@"):]
        self.verb, self.words = words[0], words[1:]
        self.expected = expected.split() if arrow else None


class Section:
    def __init__(self, name):
        self.name, self.lines = name, []


def load(path):
    """The sections, and the numbers of lines that the last one declares as (both, wire)."""
    sections, declared = [], None
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            text = text.strip()
            if not text or text.startswith("#"):
                continue
            if declared:
                raise Wrong(f"line {number} comes after the end")
            if text.startswith("section "):
                sections.append(Section(text[8:]))
            elif text.startswith("end "):
                match = re.fullmatch(r"end both=(\d+) wire=(\d+)", text)
                declared = tuple(map(int, match.groups()))
            else:
                sections[-1].lines.append(Line(number, text))
    if not declared:
        raise Wrong("the script has no end")
    return sections, declared


def expand(text, index):
    """The text that a word stands for: {i}, {TEXT*N} and \\xNN."""
    text = text.replace("{i}", f"{index:04d}")
    text = re.sub(r"\{([^*}]+)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m.group(1).decode()), text.encode())
    return raw.decode("utf-8", "surrogateescape")


def number(text, variables):
    """Terms with + or - between them: a number, perhaps with a suffix, "max", or $NAME."""
    total, sign = 0, 1
    for term in re.findall(r"[+-]|[^+-]+", text):
        if term in "+-":
            sign = 1 if term == "+" else -1
        elif term.startswith("$"):
            total += sign * variables[term[1:]]
        elif term == "max":
            total += sign * MASK
        elif term[-1] in SUFFIXES:
            total += sign * int(term[:-1]) * SUFFIXES[term[-1]]
        else:
            total += sign * int(term)
    return total & MASK


@functools.lru_cache(maxsize=None)
def period(seed):
    """What a pattern repeats: words that depend on the seed and their number.  Its length is a prime, so
    that blocks of a pattern differ."""
    x, words = seed * 0xD1B54A32D192ED03 & MASK, []
    for _ in range(-(-PERIOD // 8)):
        x = x + 0x9E3779B97F4A7C15 & MASK
        y = (x ^ x >> 29) * 0xBF58476D1CE4E5B9 & MASK
        words.append(y ^ y >> 32)
    return struct.pack(f"<{len(words)}Q", *words)[:PERIOD]


def pattern(seed, begin, length):
    """Bytes of a pattern, from one of them on."""
    begin %= PERIOD
    return (period(seed) * ((begin + length) // PERIOD + 1))[begin:begin + length]


def data(text, variables):
    """The bytes that pieces P<seed>[@<from>]:<length> and Z:<length>, between commas, stand for."""
    parts = []
    for piece in filter(None, text.split(",")):
        source, length = piece.split(":")
        length = number(length, variables)
        if source == "Z":
            parts.append(bytes(length))
        else:
            seed, _, begin = source[1:].partition("@")
            begin = number(begin or "0", variables)
            parts.append(pattern(int(seed), begin, length))
    return b"".join(parts)


class Args:
    """The KEY=VALUE words of one run of a line; every one of them must be asked for."""

    def __init__(self, line, index, variables):
        self.variables = variables
        self.left = dict(word.split("=", 1) for word in line.words)
        for key, value in self.left.items():
            self.left[key] = expand(value, index)

    def __contains__(self, key):
        return key in self.left

    def text(self, key, default=""):
        return self.left.pop(key, default)

    def number(self, key, default="0"):
        return number(self.left.pop(key, default), self.variables)

    def items(self, key):
        return list(filter(None, self.left.pop(key, "").split(",")))

    def ranges(self, key):
        return [tuple(number(part, self.variables) for part in piece.split(":"))
                for piece in self.items(key)]

    def data(self, key):
        return data(self.left.pop(key, ""), self.variables)

    def done(self):
        if self.left:
            raise Wrong(f"nobody knows {', '.join(self.left)}")


def extents(text, variables):
    """KIND:LENGTH[:FLAG] pieces as tuples."""
    pieces = (piece.split(":") for piece in filter(None, text.split(",")))
    return [(kind, number(length, variables), flag[0] if flag else "")
            for kind, length, *flag in pieces]


def _compare(operator, have, want):
    return {"=": have == want, "!=": have != want, ">": have > want, "<": have < want,
            ">=": have >= want, "<=": have <= want}[operator]


def _show(value):
    return f"{len(value)} bytes, {value[:16].hex()}..." if isinstance(value, bytes) else repr(value)


def check(word, index, values, variables):
    """One word behind the outcome: compares a value of the result, or keeps it."""
    match = CHECK.fullmatch(word)
    if not match:
        raise Wrong(f"{word} is no check")
    key, operator, text = match.groups()
    if key not in values:
        raise Wrong(f"there is no {key} in the answer")
    have, text = values[key], expand(text, index)
    if operator == "=>":
        variables[text] = have
        return
    if operator == "~":
        good = text in have
    elif isinstance(have, bytes):
        good = have == data(text, variables)
    elif isinstance(have, list):
        good = have == extents(text, variables)
    else:
        good = _compare(operator, have, number(text, variables) if isinstance(have, int) else text)
    if not good:
        raise Wrong(f"not so: {word}; it is {_show(have)}")
