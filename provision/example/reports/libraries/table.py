"""Rows as CSV, the way every client here wants them."""

import csv
import sys


def write(cursor):
    """A line of names, then every row of a cursor that has executed a query."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(column[0] for column in cursor.description)
    out.writerows(cursor)
