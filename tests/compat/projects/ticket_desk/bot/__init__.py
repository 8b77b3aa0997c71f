"""Shared parts."""
from .tickets import Ticket, number_for

__all__ = ["Ticket", "number_for"]
