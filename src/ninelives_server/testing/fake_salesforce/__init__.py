"""A fake Salesforce org: OAuth with its pages, REST, Setup, and the Pub/Sub API, in one process.

It behaves as the public documentation and the users of real orgs describe Salesforce; nothing in it was
checked against a live org. What is not known for certain is a switch in `behaviour.Behaviour`. How to start
it, and what it understands: `docs/reference/fake-salesforce.md`.
"""
