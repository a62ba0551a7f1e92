"""Masking: which rule holds for which column of a mirrored database, and what it makes of a value, as text.

A rule is one of `Rule`, or a SQL expression over the columns of its table. Every column has one: a schema with a
column nobody decided about, and a rule for a column that does not exist, are both refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rota.core.errors import RotaError

Rules = Mapping[str, Mapping[str, str]]

DOMAIN = "masked.invalid"  # RFC 2606: this top level never exists

TEXTS = frozenset({"text", "character varying", "character", "citext"})
DOCUMENTS = frozenset({"json", "jsonb"})
# Types whose values can hold no address, as the catalogue calls them. Any other type is looked through.
WORDLESS = frozenset({
    "smallint", "integer", "bigint", "numeric", "real", "double precision", "money", "oid", "boolean", "uuid",
    "date", "time without time zone", "time with time zone", "interval",
    "timestamp without time zone", "timestamp with time zone", "inet", "cidr", "macaddr", "macaddr8",
})  # fmt: skip

# An address in running text. The domain must have a dot: user@host of a log is no mail address.
ADDRESS = r"[[:alnum:]._%+-]+@[[:alnum:]-]+(\.[[:alnum:]-]+)+"
FOREIGN_ADDRESS = ADDRESS.replace("@", f"@(?!{DOMAIN.replace('.', '[.]')})")
# In JSON, the letters of an escape such as \n or \u00e9 belong to no address.
UNESCAPED = r"(?<!\\)(?<!\\u[[:xdigit:]]?[[:xdigit:]]?[[:xdigit:]]?)"


class Rule(StrEnum):
    """What happens to the values of a column; NULL stays NULL and an empty text stays empty."""

    EMAIL = "email"
    NAME = "name"
    PHONE = "phone"
    HASH = "hash"
    TEXT = "text"  # running text: mail addresses in it are replaced
    NULL = "null"
    KEEP = "keep"


class RulesDoNotFit(RotaError):
    """The masking rules do not fit the database."""


@dataclass(frozen=True, order=True)
class Column:
    """One column of an ordinary or partitioned table, as the database's catalogue describes it."""

    schema: str
    table: str
    name: str
    type: str  # without its length
    nullable: bool = True
    unique: bool = False
    length: int | None = None  # characters, for texts that have a limit
    computed: bool = False  # generated, or an identity that refuses other values
    partitioned: bool = False
    references: str = ""  # the label of the column that a foreign key of this one names

    @property
    def table_label(self) -> str:
        """How rules call the table: by its name, with the schema in front where that is not `public`."""
        return self.table if self.schema == "public" else f"{self.schema}.{self.table}"

    @property
    def label(self) -> str:
        return f"{self.table_label}.{self.name}"


@dataclass(frozen=True)
class MaskedColumn:
    """A column and the rule that will change it."""

    column: Column
    rule: str


@dataclass(frozen=True)
class MaskedTable:
    """The columns of one table that are changed, in one statement."""

    schema: str
    name: str
    label: str
    columns: tuple[MaskedColumn, ...]
    partitioned: bool = False


@dataclass(frozen=True)
class Plan:
    """What masking will do to a database: its changed tables, and every text that must hold no address afterwards."""

    tables: tuple[MaskedTable, ...]
    watched: tuple[Column, ...]


@dataclass(frozen=True)
class Masked:
    """One line of the report: a column, its rule, and how many rows had a value there."""

    table: str
    column: str
    rule: str
    rows: int


def plan(rules: Rules, columns: Iterable[Column]) -> Plan:
    """Fit the rules to the columns.

    Raises `RulesDoNotFit` with every column without a rule, every rule without a column, and every rule that the
    column's type, length, uniqueness or foreign key does not allow.
    """
    known = sorted(columns)
    faults = [*missing(rules, known), *superfluous(rules, known)]
    decided = [MaskedColumn(column, rule) for column in known if (rule := rule_for(rules, column)) is not None]
    faults += [fault for masked in decided for fault in faults_of(masked)]
    faults += broken_references(decided)
    if faults:
        raise RulesDoNotFit("; ".join(faults))
    return Plan(tuple(tables(decided)), tuple(one.column for one in decided if is_watched(one)))


def rule_for(rules: Rules, column: Column) -> str | None:
    """The rule of a column; `None` when nobody decided. YAML's bare null is taken for the rule of that name."""
    of_table = rules.get(column.table_label) or {}
    if column.name not in of_table:
        return None
    rule = of_table[column.name]
    return str(Rule.NULL) if rule is None else str(rule)


def missing(rules: Rules, columns: Sequence[Column]) -> list[str]:
    return [f"{column.label} has no rule" for column in columns if rule_for(rules, column) is None]


def superfluous(rules: Rules, columns: Sequence[Column]) -> list[str]:
    labels = {column.label for column in columns}
    named = [f"{table}.{name}" for table, of_table in rules.items() for name in of_table or {}]
    return [f"the rule for {label} has no column" for label in sorted(named) if label not in labels]


def is_expression(rule: str) -> bool:
    """A single word that is no `Rule` is a slip of the pen: a column taken over whole is written in parentheses."""
    return rule not in set(Rule) and re.fullmatch(r"\w*", rule) is None


def faults_of(masked: MaskedColumn) -> list[str]:
    """Why this rule cannot hold for this column; empty when it can."""
    column, rule = masked.column, masked.rule
    if is_expression(rule) and not column.computed:
        return []
    if rule not in set(Rule):
        return [f"{column.label}: {rule!r} is neither SQL nor one of {', '.join(Rule)}"]
    if rule == Rule.KEEP:
        return []
    if column.computed:
        return [f"{column.label} is computed by the database, so its rule can only be keep"]
    if rule == Rule.NULL:
        return [] if column.nullable else [f"{column.label} may not be null"]
    return misfit(column, Rule(rule))


def misfit(column: Column, rule: Rule) -> list[str]:
    """Why a value made by this rule would not go into this column."""
    if column.type in TEXTS:
        needed = shortest(column, rule)
        if column.length is not None and column.length < needed:
            return [f"{column.label} holds {column.length} characters, {rule} needs {needed}"]
        return []
    if rule == Rule.TEXT and column.type in DOCUMENTS:
        return []
    if rule == Rule.HASH and column.type in HASHES:
        small = column.unique and column.type == "integer"
        return [f"{column.label} is unique, and an integer is too small to stay so"] if small else []
    return [f"{column.label} is of type {column.type}, which {rule} cannot mask; write SQL"]


def shortest(column: Column, rule: Rule) -> int:
    """The characters that a text needs for this rule."""
    if rule == Rule.HASH:
        return 16 if column.unique or column.references else 1
    return {Rule.EMAIL: 17 + len("@" + DOMAIN), Rule.NAME: 23, Rule.PHONE: 16, Rule.TEXT: 1}[rule]


def broken_references(decided: Sequence[MaskedColumn]) -> list[str]:
    """Foreign keys whose two sides would not be masked alike."""
    by_label = {one.column.label: one for one in decided}
    return [
        f"{child.column.label} refers to {parent.column.label}, so both need the same rule and length"
        for child in decided
        if (parent := by_label.get(child.column.references)) and child.rule != Rule.NULL and differ(child, parent)
    ]


def differ(child: MaskedColumn, parent: MaskedColumn) -> bool:
    if Rule.KEEP in (child.rule, parent.rule) or is_expression(child.rule):
        return child.rule != parent.rule
    return child.rule != parent.rule or template(child) != template(parent)


def tables(decided: Sequence[MaskedColumn]) -> list[MaskedTable]:
    changed: dict[str, list[MaskedColumn]] = {}
    for one in decided:
        if one.rule != Rule.KEEP:
            changed.setdefault(one.column.table_label, []).append(one)
    return [table(label, columns) for label, columns in changed.items()]


def table(label: str, columns: Sequence[MaskedColumn]) -> MaskedTable:
    first = columns[0].column
    return MaskedTable(first.schema, first.table, label, tuple(columns), first.partitioned)


def is_watched(masked: MaskedColumn) -> bool:
    """Whether an address found there afterwards is a fault. Who wrote SQL took the decision for that column."""
    return masked.column.type.removesuffix("[]") not in WORDLESS and not is_expression(masked.rule)


HASHES = {
    "uuid": "left({digest}, 32)::uuid",
    "bytea": "decode({digest}, 'hex')",
    "bigint": "('x' || left({digest}, 15))::bit(60)::bigint",
    "integer": "('x' || left({digest}, 7))::bit(28)::integer",
}


def template(masked: MaskedColumn) -> str:
    """The SQL of a masked value, for `str.format`-like composition with `{digest}` and `{column}`."""
    column, rule = masked.column, masked.rule
    if rule == Rule.NULL:
        return "NULL"
    if rule == Rule.TEXT:
        start, cast = (UNESCAPED, f"::{column.type}") if column.type in DOCUMENTS else ("", "")
        return f"regexp_replace({{column}}::text, '{start}{FOREIGN_ADDRESS}', 'masked@{DOMAIN}', 'g'){cast}"
    if rule == Rule.HASH and column.type in HASHES:
        return HASHES[column.type]
    made = {
        Rule.EMAIL: f"'m' || left({{digest}}, 16) || '@{DOMAIN}'",
        Rule.NAME: "'Person ' || left({digest}, 16)",
        # +999 is a country code that nobody has.
        Rule.PHONE: "'+999' || lpad((('x' || left({digest}, 12))::bit(48)::bigint % 1000000000000)::text, 12, '0')",
        Rule.HASH: f"left({{digest}}, {min(column.length or 32, 32)})",
    }[Rule(rule)]
    return f"CASE WHEN {{column}} = '' THEN '' ELSE {made} END"


def reported(masked: MaskedTable, counts: Sequence[int]) -> list[Masked]:
    """The lines of the report for one table."""
    return [
        Masked(masked.label, one.column.name, one.rule, rows) for one, rows in zip(masked.columns, counts, strict=True)
    ]
