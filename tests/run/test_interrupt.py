"""The second Ctrl-C ends a process also inside a long native call."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

BUSY = """
import hashlib
from mipo_bench.harness.run.interrupt import ctrl_c_stops
with ctrl_c_stops():
    print("in", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.mark.slow
def test_inside_a_long_call() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "in\n"
            time.sleep(0.5)  # the line comes just before the call
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=1)  # Python handles no signal inside the call
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 130
        finally:
            process.kill()
