"""``python -m stackwarden``: the command ``stackwarden``."""

from _stackwarden_start.command import main

if __name__ == "__main__":
    main()
