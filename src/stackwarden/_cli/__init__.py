"""The commands of ``python -m stackwarden``. They need the extra [cli]; the package does not."""

import click

from stackwarden._cli.demo import demo
from stackwarden._cli.doctor import doctor


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stackwarden")
def commands() -> None:
    """Keep CPython safe on stacks that the operating system did not make.

    Build flags for other packages: --includes, --cmakedir, --pkgconfigdir.
    """


commands.add_command(demo)
commands.add_command(doctor)
