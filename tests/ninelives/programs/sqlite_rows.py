"""A database: connection, cursor, transaction, rows by name."""

import sqlite3
from contextlib import closing

import ninelives


@ninelives.step
def fill(path, items):
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany("insert into item values (?, ?)", items)


def main(event):
    with closing(sqlite3.connect(event.data.dir + "/shop.db")) as db:
        db.row_factory = sqlite3.Row
        db.execute("create table if not exists item (name text, price real)")
        fill(event.data.dir + "/shop.db", [("pen", 1.5), ("ink", 8.0), ("pad", 3.0)])
        for row in db.execute("select name from item"):
            print(row["name"])
            if row["name"] == "ink":
                break
        rows = db.execute("select name, price from item order by price").fetchall()
        for row in rows:
            print(row["name"], row["price"])
        count = db.execute("select count(*) from item").fetchone()[0]
    return count
