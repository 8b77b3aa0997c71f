"""Cursors in the usual style: made, executed, fetched from in pieces, asked for the last id."""

import sqlite3

import ninelives


@ninelives.step
def insert(path, name):
    db = sqlite3.connect(path)
    cursor = db.execute("insert into person (name) values (?)", (name,))
    db.commit()
    db.close()
    return cursor.lastrowid


def main(event):
    path = event.data.dir + "/people.db"
    db = sqlite3.connect(path)
    cursor = db.cursor()
    cursor.execute("create table if not exists person (id integer primary key, name text)")
    ids = [insert(path, name) for name in ("ann", "bob", "cid", "dan")]
    cursor.execute("select id, name from person order by id")
    first = cursor.fetchone()
    print(first, [column[0] for column in cursor.description])
    two = cursor.fetchmany(2)
    rest = list(cursor)
    print(two, rest)
    count, = db.execute("select count(*) from person").fetchone()
    names = dict(db.execute("select id, name from person where id > ?", (2,)).fetchall())
    db.close()
    return [ids, count, names]
