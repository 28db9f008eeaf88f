"""The commands of ``python -m stackwarden``. They need the extra [cli]; the package does not."""

import click

import stackwarden
from stackwarden._cli.demo import demo
from stackwarden._cli.doctor import doctor
from stackwarden._cli.launch import execute, run
from stackwarden._cli.startup import disable, enable


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(stackwarden.__version__)
def commands() -> None:
    """Keep CPython safe on stacks that the operating system did not make.

    Build flags for other packages: --includes, --cmakedir, --pkgconfigdir.
    """


commands.add_command(demo)
commands.add_command(disable)
commands.add_command(doctor)
commands.add_command(enable)
commands.add_command(execute)
commands.add_command(run)
