"""`python -m trainers.beyond`."""

from trainers.beyond import main

if __name__ == "__main__":
    main()
