"""`python -m critbatch`, and `torchrun -m critbatch`."""

from critbatch.cli.main import main

if __name__ == "__main__":
    main()
