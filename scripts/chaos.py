"""`make chaos`: random histories of the simulator under a seed, for as long as asked, and what they came to.

make chaos SECONDS=600 SEED=7
make chaos HISTORIES=2000
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.simulator import campaign, lambdas


def main() -> int:
    """0 where every promise held, 1 where one did not."""
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(3), "big"))
    most = int(os.environ.get("HISTORIES") or 0)
    seconds = float(os.environ.get("SECONDS") or (0 if most else 600))
    lambdas.handler_modules()
    done = campaign.run(seed, seconds=seconds, most_histories=most)
    print("\n".join(campaign.told(done)))
    if done.violation is not None:
        print(f"\nA PROMISE WAS BROKEN\n{done.violation}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
