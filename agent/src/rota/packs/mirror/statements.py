"""The SQL of masking: what changes a table's rows, and what looks for addresses that were missed."""

from psycopg import sql

from rota.core.masking import FOREIGN_ADDRESS, TEXTS, Column, MaskedColumn, MaskedTable, is_expression, template

SETTING = "rota.masking_key"
DIGEST = "pg_temp.rota_masked"

# Keyed by a secret of this mirror run alone, so that equal values stay equal everywhere (unique columns unique,
# foreign keys whole) and nobody can test guesses afterwards. The key is a session setting, never part of a statement.
CREATE_DIGEST = f"""
CREATE OR REPLACE FUNCTION {DIGEST}(value text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT encode(sha256(convert_to(current_setting('{SETTING}') || value, 'UTF8')), 'hex') $$
"""

# In an array, a document's backslashes are doubled.
UNESCAPED_MARKS = r"""
CASE WHEN {0} LIKE '%u00%'
     THEN regexp_replace(regexp_replace({0}, '\\+u0040', '@', 'g'), '\\+u002[eE]', '.', 'g')
     ELSE {0} END
"""


def value(masked: MaskedColumn) -> sql.Composable:
    """The SQL expression of a masked value."""
    if is_expression(masked.rule):
        return sql.SQL("({})").format(sql.SQL(masked.rule))
    name = sql.Identifier(masked.column.name)
    digest = sql.SQL("{}({}::text)").format(sql.SQL(DIGEST), name)
    # Braces of the patterns are none: the templates contain only these two fields.
    return sql.SQL(template(masked)).format(digest=digest, column=name)


def update(masked: MaskedTable) -> sql.Composed:
    """The one UPDATE that masks a table. A partitioned table hands it on; any other leaves its heirs alone."""
    assignments = [sql.SQL("{} = {}").format(sql.Identifier(one.column.name), value(one)) for one in masked.columns]
    return sql.SQL("UPDATE {only}{table} SET {assignments}").format(
        only=sql.SQL("" if masked.partitioned else "ONLY "),
        table=sql.Identifier(masked.schema, masked.name),
        assignments=sql.SQL(", ").join(assignments),
    )


def rewrite(masked: MaskedTable) -> sql.Composed:
    """What removes the old rows from the table's file: an UPDATE alone leaves them there, readable to who looks."""
    return sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(masked.schema, masked.name))


def count(masked: MaskedTable) -> sql.Composed:
    """How many rows have a value in each masked column, in the order of the columns."""
    counts = [sql.SQL("count({})").format(sql.Identifier(one.column.name)) for one in masked.columns]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(counts), sql.Identifier(masked.schema, masked.name))


def residue(column: Column) -> sql.Composed:
    """How many rows of a watched column hold a mail address that masking did not make."""
    # The first test is cheap and spares nearly every row the second.
    return sql.SQL("SELECT count(*) FROM {table} WHERE ({words}) LIKE '%@%' AND ({words}) ~ {pattern}").format(
        table=sql.Identifier(column.schema, column.table),
        words=words(column),
        pattern=sql.Literal(FOREIGN_ADDRESS),
    )


def words(column: Column) -> sql.Composed:
    """A column's value as text, and JSON's other way of writing the two marks of an address as those marks."""
    plain = sql.SQL("{}::text").format(sql.Identifier(column.name))
    if column.type in TEXTS:
        return plain
    return sql.SQL(UNESCAPED_MARKS).format(plain)
