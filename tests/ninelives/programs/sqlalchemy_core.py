"""SQLAlchemy: an engine, connections as contexts, rows by name."""

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, func, insert, select

import ninelives

metadata = MetaData()
deal = Table("deal", metadata, Column("id", Integer, primary_key=True), Column("name", String), Column("size", Integer))


@ninelives.live
def engine_of(url):
    return create_engine(url)


@ninelives.step
def fill(url, rows):
    engine = create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(deal), rows)
    engine.dispose()


def main(event):
    url = f"sqlite:///{event.data.dir}/deals.db"
    fill(url, [{"name": "a", "size": 3}, {"name": "b", "size": 5}])
    engine = engine_of(url)
    rows = big(engine, 1)
    for row in rows:
        print(row["name"], row["size"])
    return [row["size"] for row in rows]


@ninelives.step
def big(engine, least):
    with engine.connect() as connection:
        found = connection.execute(select(deal).where(deal.c.size > least).order_by(deal.c.id))
        total = connection.execute(select(func.sum(deal.c.size))).scalar_one()
        print("total", total)
        return [dict(row) for row in found.mappings()]
