"""Runs a trainer module and kills it by SIGKILL at a line of its log. Not a test: tests start it.

python kill_trainer.py MODULE LINE < FnArgs as JSON, but for the data accessor
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
from types import SimpleNamespace

import idp_tf


class KillAtLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    # After idp_tf, which sets the Keras guard.
    assert idp_tf.__version__
    from trainer_world import data_accessor

    log = logging.getLogger("idp_tf")
    log.setLevel(logging.INFO)
    log.addHandler(KillAtLine())
    attributes = json.load(sys.stdin) | {"data_accessor": data_accessor()}
    importlib.import_module(sys.argv[1]).run_fn(SimpleNamespace(**attributes))


if __name__ == "__main__":
    main()
