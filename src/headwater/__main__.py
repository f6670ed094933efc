"""`python -m headwater` is `headwater`."""

from headwater.bootstrap import main

if __name__ == "__main__":
    main()
