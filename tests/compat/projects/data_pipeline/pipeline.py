"""Reads a track from a file service, and keeps its points in a database."""

import json
import sqlite3
import xml.etree.ElementTree as xml
from contextlib import closing
from io import BytesIO
from os import getenv
from pathlib import Path

import autokitteh
import requests

HERE = Path(__file__).parent
insert_sql = (HERE / "insert.sql").read_text()
trk_tag = "{http://www.topografix.com/GPX/1/1}trkpt"


def on_new_object(event):
    for record in event.data.body.json["Records"]:
        key = record["s3"]["object"]["key"]
        data = get_object(key)
        points = parse_gpx(key, data)
        count = insert_points(points)
        print(f"inserted {count} points of {key}")


def get_object(key):
    return requests.get(f"{getenv('FILES_URL')}/{key}", timeout=30).content


def parse_gpx(track_id, data):
    root = xml.parse(BytesIO(data)).getroot()
    return [
        {
            "n": i,
            "lat": float(pt.get("lat")),
            "lng": float(pt.get("lon")),
            "height": float(pt.findtext("{*}ele")),
        }
        for i, pt in enumerate(root.iter(trk_tag))
    ]


@autokitteh.activity
def insert_points(points):
    with closing(sqlite3.connect("points.db")) as conn, conn:
        conn.executescript((HERE / "schema.sql").read_text())
        cur = conn.executemany(insert_sql, points)
    requests.post(f"{getenv('FILES_URL')}/inserted", data=json.dumps(points), timeout=30)
    return cur.rowcount
