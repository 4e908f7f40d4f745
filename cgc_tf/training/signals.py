"""SIGTERM and Ctrl-C while training: finish the step, save, leave. The second one leaves at once."""

import signal
import sys
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Within it, a signal is only noted, in `signal`, its name; a second one ends the process as it always did.

    Outside the main thread, which alone is told of signals, it does nothing.
    """

    def __init__(self):
        self.signal = None

    def __enter__(self):
        numbers = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.signal = signal.Signals(number).name
        print(f"\n{self.signal}: saving after this step; once more to leave at once", file=sys.stderr, flush=True)
        for each in SIGNALS:  # the kernel's own way, since Python's waits for the step to end
            signal.signal(each, signal.SIG_DFL)
