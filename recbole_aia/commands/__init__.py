"""The commands, one module each: name, help, arguments, and the call of the job that does the work."""

from recbole_aia.commands import audit, compare, doctor, export, prepare, protect, report, run, sweep, unlearn

#: The commands in the order of the help.
COMMANDS = (run, compare, sweep, audit, protect, unlearn, report, export, prepare, doctor)
