"""Bad inputs of every kind, a line each; ``tests/test_bad_inputs.py`` gives each to the command line."""
