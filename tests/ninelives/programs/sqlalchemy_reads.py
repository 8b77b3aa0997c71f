"""SQLAlchemy in plain code: statements are built, rows are read while a connection and a session are open."""

import requests
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

import ninelives


class Base(DeclarativeBase):
    pass


class Deal(Base):
    __tablename__ = "deal"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@ninelives.step
def fill(url):
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    with sessionmaker(engine).begin() as session:
        session.add_all([Deal(name="a"), Deal(name="b")])
    engine.dispose()


def main(event):
    url = f"sqlite:///{event.data.dir}/deals.db"
    fill(url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(Deal.id, Deal.name).order_by(Deal.id)).all()
        for row in rows:
            requests.post(f"{event.data.url}/deal", json={"name": row.name})
        count = connection.execute(sa.select(sa.func.count()).select_from(Deal)).scalar_one()
    with sessionmaker(engine).begin() as session:
        names = session.scalars(sa.select(Deal.name).where(Deal.id > 1)).all()
        requests.post(f"{event.data.url}/end", json={"names": names})
    return [[row._asdict() for row in rows], count, names]
