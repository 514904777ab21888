"""`python -m accord` is the command `accord`."""

from accord.cli import app

app(prog_name="accord")
