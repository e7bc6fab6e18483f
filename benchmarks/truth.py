"""Is the instrument right? Every figure of it that can be checked where the truth is known.

    python benchmarks/truth.py    # about an hour and a half on one core

Runs both halves: `truth_bands.py` (bands, A/A, the estimator, speed; figures 1, 2, 3 and half of 7) and
`truth_tails.py` (live groups, pass@k beyond n, origin; figures 4, 5 and 6). Each takes options of its own.
"""

import truth_bands
import truth_tails

if __name__ == "__main__":
    truth_bands.main()
    truth_tails.main()
