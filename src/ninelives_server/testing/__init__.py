"""Doubles that ship with the product: a fake Salesforce org and a pytest plugin."""
