"""Use the connection, then stay long enough to be looked at."""

import time

from ninelives import salesforce


def look(event):
    crm = salesforce.client("crm")
    print(crm.query("SELECT Id, Name FROM Account")["totalSize"])
    for _ in range(40):
        time.sleep(0.5)
    return "done"
