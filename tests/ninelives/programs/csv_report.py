"""A report is made in memory, written to a file, read back as dictionaries."""

import csv
import io


def main(event):
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=["name", "amount"])
    writer.writeheader()
    writer.writerows([{"name": "a", "amount": 1}, {"name": "b", "amount": 2}])
    path = event.data.dir + "/report.csv"
    with open(path, "w", newline="") as file:
        file.write(out.getvalue())
    total = 0
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            print(row["name"])
            total += int(row["amount"])
    with open(path, "a", newline="") as file:
        csv.writer(file).writerow(["c", 3])
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    return [total, rows]
