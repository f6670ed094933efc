"""What statements in the log do to the tables that are followed. Pure.

A row-based log brings rows as rows, and everything else that happens to tables as the statement that did it. Most of that does not
change what stands in a row; some of it does, and no row tells. A statement that names a followed table is read here far enough to say
which. One that can't be read is an error, never passed over (P7). A statement that names none is not looked at: identifiers stand in
statements as they are.

It is read by words and not by a parser of all of SQL: what comes after the words that matter (definitions, expressions, options) is skipped
by its brackets, so that grammar which is new to us does no harm there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from headwater.domain.errors import DecodeError
from headwater.domain.tables import TableName, TableSchema
from headwater.sources.mysql.definitions import Definition, definition

What = Literal["emptied", "altered", "replaced", "renamed"]

UNKNOWN = -1
"""`Column.number` of a column whose values may have changed without a row that tells."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[\s].*|\#.*|/\*(?![!M]).*?\*/)"""
    r"""|(?P<open>/\*M?!\d*)|(?P<close>\*/)"""
    r"""|`(?P<quoted>(?:[^`]|``)+)`"""
    r"""|'(?P<text>(?:[^'\\]|''|\\.)*)'"""
    r"""|"(?P<double>(?:[^"\\]|""|\\.)*)\""""
    r"""|(?P<word>[\w$\u0080-\uffff]+)"""
    r"""|(?P<other>.)""",
    re.DOTALL,
)
_ROWS_AS_TEXT = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO"})
_HARMLESS = frozenset(
    {
        "ANALYZE",
        "BEGIN",
        "BINLOG",
        "CHECK",
        "CHECKSUM",
        "COMMIT",
        "FLUSH",
        "GRANT",
        "LOCK",
        "OPTIMIZE",
        "RELEASE",
        "REPAIR",
        "REVOKE",
        "ROLLBACK",
        "SAVEPOINT",
        "SET",
        "START",
        "UNLOCK",
        "USE",
        "XA",
        "INSTALL",
        "UNINSTALL",
        "KILL",
        "RESET",
        "CHANGE",
        "PURGE",
        "SHUTDOWN",
    }
)
_NOT_TABLES = frozenset(
    {
        "VIEW",
        "TRIGGER",
        "PROCEDURE",
        "FUNCTION",
        "EVENT",
        "USER",
        "ROLE",
        "SERVER",
        "SEQUENCE",
        "LOGFILE",
        "TABLESPACE",
        "UNDO",
        "PACKAGE",
        "INDEX",
        "RESOURCE",
        "SPATIAL",
        "LIBRARY",
        "AGGREGATE",
        "DEFINER",
        "SQL",
        "ALGORITHM",
    }
)
_OPTIONS = frozenset(
    {
        "ENGINE",
        "COMMENT",
        "AUTO_INCREMENT",
        "ROW_FORMAT",
        "CHARACTER",
        "CHARSET",
        "DEFAULT",
        "COLLATE",
        "ALGORITHM",
        "LOCK",
        "ENABLE",
        "DISABLE",
        "FORCE",
        "ORDER",
        "KEY_BLOCK_SIZE",
        "STATS_PERSISTENT",
        "STATS_AUTO_RECALC",
        "STATS_SAMPLE_PAGES",
        "MAX_ROWS",
        "MIN_ROWS",
        "AVG_ROW_LENGTH",
        "CHECKSUM",
        "TABLE_CHECKSUM",
        "PACK_KEYS",
        "DELAY_KEY_WRITE",
        "ENCRYPTION",
        "ENCRYPTED",
        "ENCRYPTION_KEY_ID",
        "COMPRESSION",
        "PAGE_CHECKSUM",
        "PAGE_COMPRESSED",
        "PAGE_COMPRESSION_LEVEL",
        "TRANSACTIONAL",
        "INSERT_METHOD",
        "UNION",
        "TABLESPACE",
        "DATA",
        "WITH",
        "WITHOUT",
        "SECONDARY_ENGINE",
        "SECONDARY_LOAD",
        "SECONDARY_UNLOAD",
        "AUTOEXTEND_SIZE",
        "ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "PARTITION",
        "REORGANIZE",
        "REBUILD",
        "OPTIMIZE",
        "ANALYZE",
        "CHECK",
        "REPAIR",
        "REMOVE",
        "COALESCE",
        "NOWAIT",
        "WAIT",
        "IETF_QUOTES",
        "SEQUENCE",
    }
)
"""Alterations that change no value of a row, by their first word."""

_KEYS = frozenset({"INDEX", "KEY", "FULLTEXT", "SPATIAL", "CONSTRAINT", "CHECK", "FOREIGN", "UNIQUE", "PRIMARY", "VECTOR"})


@dataclass(frozen=True)
class Effect:
    """What a statement does to a followed table. `emptied`: it has no rows any more. `altered`: `dropped` columns are gone, the values of
    `changed` ones may be others, and those of `modified` ones too, unless their definition keeps them. `replaced`: rows have come or gone,
    all or some. `renamed`: it has another name from now on."""

    table: TableName
    what: What
    dropped: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    called: TableName | None = None
    modified: tuple[tuple[str, Definition], ...] = ()

    def after(self, before: TableSchema) -> TableSchema:
        """The table's schema behind the statement, for a SHAPE change; columns that were added are not in it."""
        if self.what == "renamed":
            return replace(before, called=self.called)
        gone = self.dropped - self.changed
        unknown = {column.name for column in before.columns} if self.what == "replaced" else self.changed | self._bent(before)
        kept = [column for column in before.columns if column.name not in gone]
        return replace(before, columns=tuple(replace(c, number=UNKNOWN) if c.name in unknown else c for c in kept))

    def _bent(self, before: TableSchema) -> set[str]:
        """The modified columns whose values may be others."""
        columns = {column.name: column for column in before.columns}
        return {name for name, given in self.modified if name in columns and not given.keeps(columns[name])}


class Unreadable(DecodeError):
    """A statement that may change a followed table and can't be read."""


def effects(text: str, database: str, followed: frozenset[TableName], sql_mode: int | None = None) -> tuple[Effect, ...]:
    """What the statement does to followed tables. `database` is the session's, in which bare names lie, and so is `sql_mode`, as bits.

    Raises:
        Unreadable: it names a followed table, and what it does to it is not known; or it changes rows, which should stand in the log.
    """
    low = text.lower()
    if not any(_spelled(table.name) in low or _spelled(table.schema) in low for table in followed):
        return ()
    words = _Words([*_tokens(text)], database, sql_mode or 0)
    return tuple(effect for effect in _statement(words, followed, text) if effect.table in followed)


def _spelled(name: str) -> str:
    return name.lower().replace("`", "``")


@dataclass(frozen=True)
class _Token:
    """`word` is the text in capitals of what may be a key word, empty for quoted names and texts."""

    text: str
    word: str = ""
    name: bool = False


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind == "quoted":
            yield _Token(found["quoted"].replace("``", "`"), name=True)
        elif kind == "double":
            yield _Token(found["double"].replace('""', '"'), name=True)  # a name under ANSI_QUOTES, a text otherwise
        elif kind == "word":
            yield _Token(found["word"], found["word"].upper(), name=True)
        elif kind in ("text", "other"):
            yield _Token(found[0])


class _Words:
    """The tokens of a statement, taken from the front."""

    def __init__(self, tokens: Sequence[_Token], database: str, sql_mode: int = 0) -> None:
        self._tokens, self._at, self._database, self._sql_mode = tokens, 0, database, sql_mode

    @property
    def next(self) -> str:
        """The next token: key words in capitals, others as they are, nothing at the end."""
        if self._at >= len(self._tokens):
            return ""
        token = self._tokens[self._at]
        return token.word or token.text

    def take(self) -> str:
        """The next token."""
        found = self.next
        self._at += 1
        return found

    def skip(self, *words: str) -> bool:
        """Take these words, where they are next, one after the other."""
        taken = False
        for word in words:
            if self.next == word:
                self._at += 1
                taken = True
        return taken

    def name(self) -> str:
        """The next token as a name."""
        if self._at >= len(self._tokens) or not self._tokens[self._at].name:
            raise Unreadable("a name is missing")
        self._at += 1
        return self._tokens[self._at - 1].text

    def table(self) -> TableName:
        """The next name, with its database in front or without."""
        first = self.name()
        return TableName(first, self.name()) if self.skip(".") else TableName(self._database, first)

    def parts(self) -> Iterator[_Words]:
        """What is left, cut at the commas outside of brackets."""
        depth, part = 0, list[_Token]()
        for token in self._tokens[self._at :]:
            depth += (token.text == "(" and not token.name) - (token.text == ")" and not token.name)
            if token.text == "," and not token.name and depth == 0:
                yield _Words(part, self._database, self._sql_mode)
                part = []
            else:
                part.append(token)
        if part:
            yield _Words(part, self._database, self._sql_mode)

    def inside(self) -> Iterator[_Words]:
        """The parts of what stands in the bracket that is next."""
        self.take()
        depth, inner = 1, list[_Token]()
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            depth += (token.text == "(" and not token.name) - (token.text == ")" and not token.name)
            if depth == 0:
                break
            inner.append(token)
        yield from _Words(inner, self._database).parts()

    def definition(self) -> Definition | None:
        """What is left, as the definition of a column; None where it is not understood."""
        return definition([token.word or token.text for token in self._tokens[self._at :]], self._sql_mode)

    def names(self, table: TableName) -> bool:
        """Whether some token may be the table's name."""
        return any(token.name and token.text.lower() == table.name.lower() for token in self._tokens)


def _statement(words: _Words, followed: frozenset[TableName], text: str) -> list[Effect]:
    try:
        return _read(words, followed)
    except Unreadable as error:
        named = sorted(str(table) for table in followed if words.names(table))
        if not named:
            return []
        raise Unreadable(
            f"A statement in the log may change {', '.join(named)}, and Headwater can't tell how ({error}): it begins with "
            f"{' '.join(text.split()[:3])!r}."
        ) from None


def _read(words: _Words, followed: frozenset[TableName]) -> list[Effect]:
    first = words.take()
    if first in _HARMLESS:
        return []
    if first in _ROWS_AS_TEXT:
        raise Unreadable("the log holds it instead of the rows that it changed; is binlog_format ROW for every session?")
    if first == "TRUNCATE":
        words.skip("TABLE")
        return [Effect(words.table(), "emptied")]
    if first == "RENAME" and words.skip("TABLE", "TABLES"):
        return _all_renamed([effect for part in words.parts() for effect in _renamed(part)])
    if first == "DROP":
        return _dropped(words, followed)
    if first == "CREATE":
        return _created(words)
    if first == "ALTER":
        return _altered(words)
    if first == "RENAME":
        return []
    raise Unreadable("it is of an unknown kind")


def _all_renamed(made: list[Effect]) -> list[Effect]:
    """A name that goes and comes back in one statement is replaced, not renamed: so tools put a changed copy in a table's place."""
    filled = {effect.table for effect in made if effect.what == "replaced"}
    return [effect for effect in made if effect.what == "replaced" or effect.table not in filled]


def _renamed(words: _Words) -> list[Effect]:
    words.skip("IF", "EXISTS")
    old = words.table()
    words.skip("NOWAIT")
    if words.skip("WAIT"):
        words.take()
    if not words.skip("TO"):
        raise Unreadable("a name is missing")
    new = words.table()
    return [Effect(old, "renamed", called=new), Effect(new, "replaced")]


def _dropped(words: _Words, followed: frozenset[TableName]) -> list[Effect]:
    if words.next in _NOT_TABLES or words.skip("TEMPORARY") or words.next == "PREPARE":
        return []
    if words.skip("DATABASE", "SCHEMA"):
        words.skip("IF", "EXISTS")
        database = words.name()
        return [Effect(table, "replaced") for table in followed if table.schema == database]
    if not words.skip("TABLE", "TABLES"):
        raise Unreadable("it drops something unknown")
    words.skip("IF", "EXISTS")
    return [Effect(part.table(), "replaced") for part in words.parts()]


def _created(words: _Words) -> list[Effect]:
    """Only what replaces a table matters: one that was there would have been dropped by another statement."""
    anew = words.skip("OR", "REPLACE")
    if words.skip("TEMPORARY") or not anew or words.next != "TABLE":
        return []
    words.skip("TABLE")
    return [Effect(words.table(), "replaced")]


def _altered(words: _Words) -> list[Effect]:
    words.skip("ONLINE")
    drops_rows = words.skip("IGNORE")
    if words.next in _NOT_TABLES or words.next in ("DATABASE", "SCHEMA", "INSTANCE"):
        return []
    if not words.skip("TABLE"):
        raise Unreadable("it alters something unknown")
    words.skip("IF", "EXISTS")
    table = words.table()
    words.skip("NOWAIT")
    if words.skip("WAIT"):
        words.take()
    made = [Effect(table, "replaced")] if drops_rows else []
    dropped, changed, modified = set[str](), set[str](), dict[str, Definition]()
    for part in words.parts():
        made += _alteration(table, part, dropped, changed, modified)
    columns = Effect(table, "altered", frozenset(dropped), frozenset(changed), modified=tuple(modified.items()))
    return [*made, *([columns] if dropped or changed or modified else [])]


def _alteration(table: TableName, words: _Words, dropped: set[str], changed: set[str], modified: dict[str, Definition]) -> list[Effect]:
    """One part of an ALTER TABLE: columns are noted, everything else is given back."""
    verb = words.take()
    if verb == "ADD":
        _added(words, changed)
    elif verb == "DROP":
        return _taken_away(table, words, dropped)
    elif verb in ("MODIFY", "CHANGE"):
        words.skip("COLUMN", "IF", "EXISTS")
        _redefined(words.name(), words.name() if verb == "CHANGE" else None, words, changed, modified)
    elif verb == "RENAME":
        return _given_name(table, words, dropped, changed)
    elif verb in ("CONVERT", "DISCARD", "IMPORT", "TRUNCATE"):
        return [Effect(table, "replaced")]
    elif verb == "EXCHANGE":
        while words.next and not words.skip("TABLE"):
            words.take()
        return [Effect(table, "replaced"), Effect(words.table(), "replaced")]
    elif verb != "ALTER" and verb not in _OPTIONS and words.next != "=":
        raise Unreadable(f"its part {verb} is not known")
    return []


def _redefined(old: str, new: str | None, words: _Words, changed: set[str], modified: dict[str, Definition]) -> None:
    """A column gets another definition, and perhaps another name."""
    given = words.definition() if new in (None, old) else None
    if given is not None:
        modified[old] = given
    else:
        changed |= {old, new or old}


def _added(words: _Words, changed: set[str]) -> None:
    if words.next in _KEYS or words.next in ("PARTITION", "SYSTEM", "PERIOD"):
        return
    words.skip("COLUMN")
    words.skip("IF", "NOT", "EXISTS")
    if words.next != "(":
        changed.add(words.name())
        return
    changed |= {part.name() for part in words.inside() if part.next not in _KEYS}


def _taken_away(table: TableName, words: _Words, dropped: set[str]) -> list[Effect]:
    if words.next == "PARTITION":
        return [Effect(table, "replaced")]
    if words.next in _KEYS or words.next in ("SYSTEM", "PERIOD"):
        return []
    words.skip("COLUMN", "IF", "EXISTS")
    dropped.add(words.name())
    return []


def _given_name(table: TableName, words: _Words, dropped: set[str], changed: set[str]) -> list[Effect]:
    if words.skip("COLUMN"):
        words.skip("IF", "EXISTS")
        dropped.add(words.name())
        words.skip("TO")
        changed.add(words.name())
        return []
    if words.next in ("INDEX", "KEY"):
        return []
    words.skip("TO", "AS", "=")
    new = words.table()
    return [Effect(table, "renamed", called=new), Effect(new, "replaced")]
