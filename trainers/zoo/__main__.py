"""`python -m trainers.zoo`."""

from trainers.zoo import main

if __name__ == "__main__":
    main()
