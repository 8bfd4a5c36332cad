"""`python -m rangemill_cli`."""

from rangemill_cli.main import main

if __name__ == "__main__":
    main()
