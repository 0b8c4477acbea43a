"""`python -m applianceforge`."""

from applianceforge.cli.main import main

if __name__ == "__main__":
    main()
