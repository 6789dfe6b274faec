"""Requests to hide attributes of users: ``askers`` finds who asks, ``ledger`` keeps requests, ``requests`` has them.

``requests`` also turns requests into the task of a defense: which users move, and which labels are hidden.
"""
