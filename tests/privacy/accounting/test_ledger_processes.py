"""One book and several processes, some of which die while they write."""

import os
import signal
import subprocess
import sys

from sparsetheory.privacy import PrivacyLedger

_CHARGER = """
import sys
from sparsetheory.privacy import BudgetExceededError, PrivacyLedger

done = 0
with PrivacyLedger(sys.argv[1], eps=1.0) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(60):
        try:
            ledger.charge(["shared", f"{sys.argv[2]}-{i}"], eps=0.01953125, campaign=f"{sys.argv[2]}-{i}")
            done += 1
        except BudgetExceededError:
            pass
print(done)
"""

# Dies by a signal that nobody can catch, after the rows of the block are written and before they are committed.
_VICTIM = """
import os, signal, sys
from sparsetheory.privacy import PrivacyLedger


class Doomed(PrivacyLedger):
    def _refuse_excess(self, eps, mu, distance):
        super()._refuse_excess(eps, mu, distance)
        # A small cache of pages, so that half of the block is in the file already.
        self._connection.execute("PRAGMA cache_size = 10")
        self._connection.execute(
            "INSERT INTO charges SELECT user, 2, ?, ?, ? FROM temp.block ORDER BY user", (eps, mu, distance)
        )
        print("written", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


Doomed(sys.argv[1], eps=1.0).charge(range(20_000), eps=0.5, campaign="now")
"""


def _start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_together_stay_within_the_budget(tmp_path):
    # 1 / 0.01953125 = 51.2: of 120 charges of the shared user 51 fit.
    workers = [_start(_CHARGER, tmp_path / "book.db", name) for name in ("left", "right")]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    done = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(done) == 51
    with PrivacyLedger(tmp_path / "book.db", eps=1.0) as ledger:
        assert ledger.total("shared") == 51 * 0.01953125
        # Whoever was refused with the shared user has not been charged either.
        charged = [sum(ledger.total(f"{name}-{i}") > 0 for i in range(60)) for name in ("left", "right")]
    assert charged == done


def test_a_charge_that_is_killed_half_way_is_not_begun(tmp_path):
    path = tmp_path / "book.db"
    with PrivacyLedger(path, eps=1.0) as ledger:
        ledger.charge(range(0, 20_000, 3), eps=0.25, campaign="before")
    size = os.path.getsize(path)
    victim = _start(_VICTIM, path)
    output, _ = victim.communicate(timeout=60)
    assert (output, victim.returncode) == ("written\n", -signal.SIGKILL)
    # The file holds a part of the block, and beside it lies what undoes it.
    assert os.path.getsize(path) > size
    assert (tmp_path / "book.db-journal").exists()
    with PrivacyLedger(path, eps=1.0) as ledger:
        assert ledger.spent() == 0.25
        assert ledger.total(1) == 0
        ledger.charge(range(20_000), eps=0.5, campaign="now")
        assert ledger.spent() == 0.75
