"""Values that the org makes from others: full names, probabilities, closed flags, compound addresses."""

from datetime import datetime
from typing import Any

from ninelives_server.testing.fake_salesforce.schema.fields import SObject
from ninelives_server.testing.fake_salesforce.schema.sales import STAGES
from ninelives_server.testing.fake_salesforce.schema.service import CASE_CLOSED, TASK_CLOSED

Row = dict[str, Any]
_PEOPLE = {"Contact", "Lead", "User"}


def after_write(sobject_name: str, before: Row, row: Row, now: datetime) -> Row:
    """Return the row with whatever follows from what was written."""
    if sobject_name in _PEOPLE:
        row["Name"] = " ".join(p for p in (row.get("FirstName"), row.get("LastName")) if p)
    elif sobject_name == "Opportunity":
        _opportunity(before, row, now)
    elif sobject_name == "Case":
        row["IsClosed"] = row.get("Status") in CASE_CLOSED
        row["ClosedDate"] = (before.get("ClosedDate") or now) if row["IsClosed"] else None
        row["IsEscalated"] = row.get("IsEscalated") or row.get("Status") == "Escalated"
    elif sobject_name == "Task":
        row["IsClosed"] = row.get("Status") in TASK_CLOSED
        row["CompletedDateTime"] = (before.get("CompletedDateTime") or now) if row["IsClosed"] else None
        row["IsHighPriority"] = row.get("Priority") == "High"
    return row


def _opportunity(before: Row, row: Row, now: datetime) -> None:
    probability, closed, won, forecast = STAGES.get(row["StageName"], (0, False, False, "Pipeline"))
    if row["StageName"] != before.get("StageName"):
        if row.get("Probability") == before.get("Probability"):
            row["Probability"] = float(probability)
        row["LastStageChangeDate"] = now if before else None
        row["ForecastCategory"] = row["ForecastCategoryName"] = forecast
    row["IsClosed"], row["IsWon"] = closed, won
    amount = row.get("Amount")
    row["ExpectedRevenue"] = None if amount is None else round(amount * (row["Probability"] or 0) / 100, 2)
    row["FiscalYear"], row["FiscalQuarter"] = row["CloseDate"].year, (row["CloseDate"].month + 2) // 3


def compound(sobject: SObject, name: str, row: Row) -> dict[str, Any] | None:
    """Return an address as REST shows it: lower-case keys, `null` where no part is filled in."""
    parts = {f.part: row.get(f.name) for f in sobject.fields if f.compound == name and f.part}
    if all(value is None for value in parts.values()):
        return None
    return {part[0].lower() + part[1:]: value for part, value in sorted(parts.items())}
