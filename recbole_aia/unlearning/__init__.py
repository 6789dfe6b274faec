"""Requests to hide attributes of users: who asks, what the ledger keeps, and what a defense has to hide of whom."""
