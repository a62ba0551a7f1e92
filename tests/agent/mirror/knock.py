"""Tries to enter every scratch of a server: `knock.py HOST ROLE`; says what came of each attempt, until it is ended."""

import sys

import psycopg

SCRATCHES = "SELECT datname FROM pg_database WHERE datname LIKE '%scratch%'"

host, role = sys.argv[1:]
with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
    while True:
        for (scratch,) in connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE '%scratch%'"
        ).fetchall():
            try:
                psycopg.connect(host=host, user=role, dbname=scratch).close()
                print("entered", flush=True)
            except psycopg.OperationalError as refusal:
                print("gone" if "does not exist" in str(refusal) else "refused", flush=True)
