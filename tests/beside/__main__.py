"""`python -m tests.beside [--mailboxes 100] [--seed 1000]`: many made-up letters in Posthouse and in Dovecot.

Each mailbox holds 150 letters, made from the next seed. Every difference that no rule of `known.py`
explains is shown with its letter; the status is 1 where there was one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.beside import made_up, servers
from tests.beside.fetched import differences, fill
from tests.beside.known import rule_for


def main() -> int:
    """Look at as many mailboxes as are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.beside", description=__doc__)
    parser.add_argument("--mailboxes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000, help="of the first mailbox")
    asked = parser.parse_args()
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder:
        dovecot = servers.dovecot()
        try:
            with servers.posthouse(Path(folder) / "posthouse") as posthouse:
                both = servers.Both(posthouse, dovecot, servers.USERS[0])
                for seed in range(asked.seed, asked.seed + asked.mailboxes):
                    unexplained += _look_at(both, seed)
        finally:
            dovecot.stop()
    print(f"{asked.mailboxes} mailboxes, {unexplained} differences that nothing explains")
    return min(unexplained, 1)


def _look_at(both: servers.Both, seed: int) -> int:
    pair, letters, mailbox = both.imap(), made_up.letters(seed), b"seed-%d" % seed
    pair.do(b"CREATE " + mailbox)
    fill(pair, letters.values(), mailbox)
    pair.do(b"SELECT " + mailbox)
    found = [one for one in differences(pair, letters) if rule_for(one) is None]
    for one in found:
        print(f"{one}\n  letter {one.letter!r}\n")
    pair.do(b"CLOSE")
    pair.do(b"DELETE " + mailbox)
    pair.close()
    return len(found)


sys.exit(main())
