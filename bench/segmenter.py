"""Measures the segmenter on the test side of HAM10000's `clean_split`.

Usage: `python -m clarify.bench.segmenter --data HAM10000`. Dice and Jaccard (intersection over union) are
means over pictures at their full size of 200 x 150. Beside it stands the specialist's box rule, which knows
no masks: what differs from the rim of the picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..tools.segmenter import Segmenter
from ..training.segmenter.metrics import measure, table


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    print(table(measure(Segmenter.load(), args.data)))


if __name__ == "__main__":
    main()
