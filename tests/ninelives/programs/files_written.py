"""Files in a directory outside: written, appended to, read, listed, removed."""

import os
import shutil
from pathlib import Path


def main(event):
    base = Path(event.data.dir) / "reports"
    base.mkdir(exist_ok=True)
    (base / "a.txt").write_text("alpha\n")
    with open(base / "a.txt", "a") as file:
        file.write("beta\n")
        print("gamma", file=file)
    with (base / "b.bin").open("wb") as file:
        file.write(bytes(range(10)))
    lines = (base / "a.txt").read_text().splitlines()
    names = sorted(p.name for p in base.iterdir())
    size = os.path.getsize(base / "b.bin")
    shutil.copy(base / "a.txt", base / "c.txt")
    found = sorted(base.glob("*.txt"))
    (base / "b.bin").unlink()
    print(lines, names, size, [p.name for p in found])
    return (base / "b.bin").exists()
