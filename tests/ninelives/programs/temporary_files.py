"""Temporary files and directories, archives made in memory and on disk."""

import gzip
import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import ninelives


@ninelives.step
def pack(path, archive):
    with gzip.open(path, "wt") as file:
        file.write("first\n")
        json.dump([1, 2, 3], file)
    with tarfile.open(archive, "w") as tar:
        tar.add(path, arcname="data.json.gz")


@ninelives.step
def note(directory):
    with tempfile.TemporaryDirectory() as scratch, tempfile.NamedTemporaryFile("w+", dir=scratch) as file:
        file.write("kept")
        file.flush()
        shutil.copy(file.name, Path(directory, "note.txt"))
    return "note.txt"


def main(event):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "alpha")
        archive.writestr("b/c.json", json.dumps({"n": 1}))
    with zipfile.ZipFile(io.BytesIO(buffer.getvalue())) as archive:
        names = archive.namelist()
        inner = json.loads(archive.read("b/c.json"))
    path = Path(event.data.dir) / "data.json.gz"
    pack(path, event.data.dir + "/all.tar")
    with gzip.open(path, "rt") as file:
        first = file.readline()
        numbers = json.load(file)
    with tarfile.open(event.data.dir + "/all.tar") as archive:
        members = archive.getnames()
    name = note(event.data.dir)
    print(name == Path(name).name, Path(event.data.dir, name).read_text())
    return [names, inner, first, numbers, members, gzip.decompress(gzip.compress(b"x")).decode()]
