"""The objects that the org holds: their fields, in the order in which Salesforce lists them."""
