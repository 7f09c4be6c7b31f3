"""`python -m bench`: Posthouse and Postfix, or Dovecot, in turn, several rounds, medians and ratios.

python -m bench                     all
python -m bench deliver relay       only these (start, memory, deliver, relay, mx, million)
python -m bench postgresql          on PostgreSQL, beside SQLite and Postfix; two hosts beside one
python -m bench imap                IMAP beside Dovecot (imap, imap-large, imap-million)
python -m bench --rounds 5
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench import report, suites


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench", description="Posthouse beside Postfix and Dovecot, on this machine."
    )
    parser.add_argument("suite", nargs="*", help=f"{', '.join(suites.SUITES)}; all if none is named")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn (default 3)")
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="where the data lies while it runs"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.suite if name not in suites.SUITES]:
        parser.error(f"there is no suite {', '.join(unknown)}")
    missing = [name for name in ("smtp-source", "smtp-sink", "postfix") if shutil.which(name) is None]
    if missing:
        print(
            f"bench: {', '.join(missing)} not found; `make bench` installs Postfix and Dovecot as root",
            file=sys.stderr,
        )
        return 69
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is then ended as well
    folder = Path(tempfile.mkdtemp(prefix="posthouse-bench-", dir=options.folder))
    folder.chmod(0o755)
    try:
        for name in options.suite or suites.SUITES:
            for line in suites.SUITES[name](folder / name, options.rounds):
                print(line, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report.machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
