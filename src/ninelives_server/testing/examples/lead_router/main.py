"""Route new Leads: look the account up, wait a little, then change the Lead."""

import os
import time

from ninelives import salesforce

PAUSE = float(os.environ.get("PAUSE_SECONDS", "1"))


def on_lead(event):
    """Start for each Lead that is created in the connected org."""
    crm = salesforce.client("crm")
    lead_id = event.data.ChangeEventHeader.recordIds[0]

    lead = crm.Lead.get(lead_id)
    print(f"new lead: {lead['FirstName']} {lead['LastName']} of {lead['Company']}")

    account = find_account(crm, lead["Company"])
    if account is None:
        print("no account of that name: nothing to route")
        return {"lead": lead_id, "routed": False}

    time.sleep(PAUSE)

    crm.Lead.update(lead_id, {"Rating": "Hot", "Description": f"Belongs to {account['Name']}"})
    print(f"routed to the account {account['Name']}")
    return {"lead": lead_id, "routed": True, "account": account["Id"]}


def find_account(crm, company):
    """Return the account of this name, or None."""
    name = company.replace("\\", "\\\\").replace("'", "\\'")
    found = crm.query(f"SELECT Id, Name FROM Account WHERE Name = '{name}' LIMIT 1")
    return found["records"][0] if found["records"] else None
