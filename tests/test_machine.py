"""What is said to a process before TensorFlow starts: threads, and huge pages."""

import os
import subprocess
import sys

from idp_tf.machine import thread_counts

SHOW = """
import os
from idp_tf.machine import restart_with_huge_pages
restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), os.getpid())
"""
THREADS = """
from idp_tf.machine import set_thread_counts
set_thread_counts()
import os
print(os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["TF_NUM_INTEROP_THREADS"])
"""


def say(program, **environment):
    """What a program prints in a process with these variables alone of their kind."""
    kept = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and "TF_NUM" not in k}
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env=kept | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = child.communicate(timeout=60)[0].split()
    assert child.returncode == 0
    return said, child.pid


def test_threads_share_the_cores():
    for cores in range(1, 65):
        within, between = thread_counts(cores)
        assert 1 <= within * between <= cores


def test_it_starts_again_once_in_the_same_process():
    said, pid = say(SHOW)
    assert said == ["glibc.malloc.hugetlb=1", str(pid)]


def test_what_the_environment_says_stays():
    said, _ = say(SHOW, GLIBC_TUNABLES="glibc.malloc.check=0")
    assert said[0] == "glibc.malloc.check=0"
    said, _ = say(THREADS, TF_NUM_INTRAOP_THREADS="3")
    assert said[0] == "3"
