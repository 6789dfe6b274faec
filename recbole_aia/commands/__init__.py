"""One module a command: it declares its arguments, and hands them to the function that does the work."""

from recbole_aia.commands import audit, doctor, export, prepare, run, unlearn

#: In the order of the help.
COMMANDS = (run, audit, unlearn, export, prepare, doctor)
