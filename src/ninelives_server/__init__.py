"""Ninelives, the server: everything that project code does not import."""
