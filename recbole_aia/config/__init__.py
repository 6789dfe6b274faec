"""Configuration: declarations of keys, property files, parsing of values, and a safe version of RecBole's ``Config``.

``keys`` has the kinds of keys, ``run_keys`` the keys that every run reads, ``registry`` the defenses and all their
keys, ``properties`` the defaults, ``text`` the parsing of values, and ``aia_config`` the configuration itself. Only
``aia_config`` imports RecBole, which is slow, so this module imports none of them.
"""
