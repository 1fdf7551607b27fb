"""`python -m trainers.compare`."""

import sys

from trainers.compare import main

if __name__ == "__main__":
    sys.exit(main())
