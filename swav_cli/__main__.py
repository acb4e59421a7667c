"""`python -m swav_cli`, which torchrun starts."""

from swav_cli.app import main

if __name__ == "__main__":
    main()
