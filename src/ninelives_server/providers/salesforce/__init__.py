"""Salesforce: the owner's own app, identity, health; events over the Pub/Sub API."""
