"""Runs the org as a program: `python -m ninelives_server.testing.fake_salesforce`."""

from ninelives_server.testing.fake_salesforce.command import command

if __name__ == "__main__":
    command()
