"""Large files: read line by line, in blocks, from the middle; copied; two open at once."""

import os

import ninelives


@ninelives.step
def plant(path):
    with open(path, "w") as file:
        for n in range(6):
            file.write(f"line {n}\n")


def blocks(file, size):
    while block := file.read(size):
        yield block


def main(event):
    source, target = event.data.dir + "/source.txt", event.data.dir + "/target.txt"
    plant(source)
    with open(source) as read, open(target, "w") as write:
        for n, line in enumerate(read):
            if n % 2:
                write.write(line.upper())
    with open(source, "rb") as file:
        sizes = [len(block) for block in blocks(file, 20)]
        file.seek(7)
        middle = file.readline()
        where = file.tell()
    with open(source) as file:
        header = next(file)
        rest = file.readlines()
    with open(target, "r+") as file:
        file.seek(0, os.SEEK_END)
        file.writelines(["one\n", "two\n"])
        file.seek(0)
        lines = file.read().split()
    with open(source) as file:
        chunks = [chunk for chunk in iter(lambda: file.read(16), "")]
    print(header, end="")
    return [sizes, middle.decode(), where, len(rest), lines, len(chunks)]
