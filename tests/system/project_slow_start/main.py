"""One call, which tells the counter that the code has run; it needs a package that comes when a test says so."""

import urllib.request


def once(event):
    urllib.request.urlopen(f"{event.data.url}/once/0", data=b"", timeout=60).close()
    return "done"
