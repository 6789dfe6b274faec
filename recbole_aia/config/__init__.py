"""Configuration: keys and who declares them, property files, values as text, and RecBole's ``Config`` read safely.

``keys`` has the kinds of keys, ``run_keys`` those that every run reads, ``registry`` the defenses and all their keys,
``properties`` the defaults, ``text`` the parsing of values, and ``aia_config`` the configuration itself. Only the last
one needs RecBole, so nothing is imported here.
"""
