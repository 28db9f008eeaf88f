"""The commands that need the extra [cli]. _stackwarden_start/command.py has the others, and the help."""

import click

from stackwarden._cli.demo import demo
from stackwarden._cli.doctor import doctor
from stackwarden._cli.startup import disable, enable


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Keep CPython safe on stacks that the operating system did not make."""


commands.add_command(demo)
commands.add_command(disable)
commands.add_command(doctor)
commands.add_command(enable)
