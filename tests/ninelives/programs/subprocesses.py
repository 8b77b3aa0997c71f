"""Programs are run, their output read, their failure caught."""

import subprocess
import sys


def main(event):
    done = subprocess.run(["echo", "hello"], capture_output=True, text=True, check=True)
    print(done.stdout.strip(), done.returncode)
    text = subprocess.check_output([sys.executable, "-c", "print(6 * 7)"], text=True)
    try:
        subprocess.run(["false"], check=True)
    except subprocess.CalledProcessError as error:
        print("failed", error.returncode, error.cmd)
    try:
        subprocess.run(["no-such-program"], check=False)
    except FileNotFoundError as error:
        print(error.filename)
    return int(text)
