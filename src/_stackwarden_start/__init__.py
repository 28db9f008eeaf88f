"""What begins with a process: the command `stackwarden`, and what STACKWARDEN asks for when Python starts.

Promises: needs the standard library alone, and imports of it what a Python has at its start anyway; the package
`stackwarden`, which loads the core, is imported only where it is asked for. Hence a package beside it: whoever
imports a module of `stackwarden` imports all of that first.

    command.py       the command line
    launch.py        `run` and `exec`
    environment.py   the variables in which processes are interposed
    begin.py         what begins when Python starts
    variables.py     which variables Python may obey
"""
