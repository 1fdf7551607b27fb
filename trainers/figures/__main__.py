"""`python -m trainers.figures`."""

from trainers.figures import main

if __name__ == "__main__":
    main()
