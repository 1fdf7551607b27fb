"""`python -m trainers.nested`."""

from trainers.nested import main

if __name__ == "__main__":
    main()
