"""Counts of requests and their latencies, in Prometheus' text format, under TF Serving's names.

TF Serving's names hold a count without the ending `_total` that Prometheus' own Python client puts on one, so that one
dashboard fits both servers only if the few lines are written here.
"""

import bisect
import collections
import threading

COUNT, LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"
BOUNDS = (1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7)  # microseconds, as TF Serving's


class Metrics:
    """Counters of one server; safe to share by threads."""

    def __init__(self, model_name):
        self._name, self._lock = _escaped(model_name), threading.Lock()
        self._counts = collections.Counter()
        self._latencies = {}

    def observe(self, api, status, seconds):
        """Counts one request of `api`, "REST" or "gRPC", that ended with a gRPC status' name after so long."""
        with self._lock:
            self._counts[api, status] += 1
            buckets, total = self._latencies.get(api, ([0] * (len(BOUNDS) + 1), 0.0))
            buckets[bisect.bisect_left(BOUNDS, seconds * 1e6)] += 1
            self._latencies[api] = buckets, total + seconds * 1e6

    def text(self):
        """Everything counted so far, in Prometheus' text format."""
        with self._lock:
            lines = [f"# TYPE {COUNT} counter"]
            for (api, status), count in sorted(self._counts.items()):
                lines.append(f'{COUNT}{{model_name="{self._name}",API="{api}",status="{status}"}} {count}')
            lines.append(f"# TYPE {LATENCY} histogram")
            for api, (buckets, total) in sorted(self._latencies.items()):
                labels, below = f'model_name="{self._name}",API="{api}"', 0
                for bound, count in zip([*map(_number, BOUNDS), "+Inf"], buckets, strict=True):
                    below += count
                    lines.append(f'{LATENCY}_bucket{{{labels},le="{bound}"}} {below}')
                lines += [f"{LATENCY}_sum{{{labels}}} {total:.0f}", f"{LATENCY}_count{{{labels}}} {below}"]
        return "\n".join(lines) + "\n"


def _number(bound):
    return f"{bound:.0f}"


def _escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
