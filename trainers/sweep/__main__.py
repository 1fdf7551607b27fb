"""`python -m trainers.sweep`."""

from trainers.sweep import main

if __name__ == "__main__":
    main()
