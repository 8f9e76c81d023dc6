"""`python -m critbatch`, and `torchrun -m critbatch`."""

import sys

if __name__ == "__main__":
    try:
        from critbatch.cli.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()
