"""Record ids: 15 characters where case counts, or 18 with a checksum of the case.

The rule: for each five characters, bit i is set where character i is an upper-case letter; the value indexes
`ABCDEFGHIJKLMNOPQRSTUVWXYZ012345` (Object Reference, "ID Field Type").
"""

from urllib.parse import urlsplit

_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def long(record_id: str) -> str:
    """Return an id in its form of 18 characters; what is no id of 15 is returned as it is."""
    if len(record_id) != 15 or not record_id.isalnum():
        return record_id
    chunks = (record_id[i : i + 5] for i in (0, 5, 10))
    return record_id + "".join(
        _SUFFIX[sum(1 << i for i, c in enumerate(chunk) if c.isascii() and c.isupper())] for chunk in chunks
    )


def from_identity(url: str) -> tuple[str, str] | None:
    """Return org id and user id from an identity URL, `https://login.salesforce.com/id/00D…/005…`."""
    parts = urlsplit(url).path.strip("/").split("/")
    if len(parts) != 3 or parts[0] != "id":
        return None
    org, user = long(parts[1]), long(parts[2])
    return (org, user) if org.startswith("00D") and len(org) == len(user) == 18 else None
