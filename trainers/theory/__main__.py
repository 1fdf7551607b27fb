"""`python -m trainers.theory`."""

from trainers.theory import main

if __name__ == "__main__":
    main()
