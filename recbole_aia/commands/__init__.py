"""One module a command: its name, its help, its arguments, and the call of the job that does the work."""

from recbole_aia.commands import audit, doctor, export, prepare, run, unlearn

#: In the order of the help.
COMMANDS = (run, audit, unlearn, export, prepare, doctor)
