"""Directories are walked, listed, copied and removed."""

import glob
import json
import os
import pickle
import shutil
from configparser import ConfigParser
from pathlib import Path

import ninelives


@ninelives.step
def plant(base):
    for name in ("a/one.txt", "a/b/two.txt", "c/three.md"):
        path = Path(base, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def main(event):
    base = os.path.join(event.data.dir, "tree")
    plant(base)
    walked = [(os.path.relpath(top, base), sorted(dirs), sorted(files)) for top, dirs, files in os.walk(base)]
    walked.sort()
    with os.scandir(base) as entries:
        scanned = sorted((entry.name, os.path.isdir(entry.path)) for entry in entries)
    found = sorted(os.path.basename(path) for path in glob.glob(base + "/**/*.txt", recursive=True))
    deep = sorted(path.name for path in Path(base).rglob("*") if path.is_file())
    shutil.copytree(base, base + "-copy")
    shutil.rmtree(base + "-copy")
    config = ConfigParser()
    config["main"] = {"key": "value"}
    with open(base + "/app.ini", "w") as file:
        config.write(file)
    again = ConfigParser()
    again.read(base + "/app.ini")
    with open(base + "/data.json", "w") as file:
        json.dump({"n": [1, 2]}, file)
    with open(base + "/data.pickle", "wb") as file:
        pickle.dump({"k": (1, 2)}, file)
    with open(base + "/data.json") as file:
        data = json.load(file)
    with open(base + "/data.pickle", "rb") as file:
        pickled = pickle.load(file)
    print(os.stat(base + "/data.json").st_size, os.listdir(base + "/c"))
    return [walked, scanned, found, deep, again["main"]["key"], data, pickled, os.path.isdir(base + "-copy")]
