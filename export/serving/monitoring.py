"""Counts of requests and their latencies, in Prometheus' text format, under TF Serving's names, labels and buckets.

TF Serving's names hold a count without the ending `_total` that Prometheus' own Python client puts on one, so that one
dashboard fits both servers only if the few lines are written here.
"""

import bisect
import collections
import threading

COUNT, LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"
BOUNDS = [10 * 1.8**power for power in range(33)]  # microseconds


class Metrics:
    """Counters of one server; safe to share by threads."""

    def __init__(self, model_name):
        self._name = model_name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self._lock = threading.Lock()
        self._counts = collections.Counter()
        self._latencies = {}

    def observe(self, api, entrypoint, status, seconds):
        """Counts a request to predict that ended with a gRPC status' name after so long.

        Args:
            api: "predict" or "Predict".
            entrypoint: "REST" or "GRPC".
        """
        with self._lock:
            self._counts[status] += 1
            if status == "OK":
                buckets, total = self._latencies.get((api, entrypoint), ([0] * (len(BOUNDS) + 1), 0.0))
                buckets[bisect.bisect_right(BOUNDS, seconds * 1e6)] += 1
                self._latencies[api, entrypoint] = buckets, total + seconds * 1e6

    def text(self):
        """Everything counted so far, in Prometheus' text format."""
        with self._lock:
            lines = [f"# TYPE {COUNT} counter"]
            for status, count in sorted(self._counts.items()):
                lines.append(f'{COUNT}{{model_name="{self._name}",status="{status}"}} {count}')
            lines.append(f"# TYPE {LATENCY} histogram")
            for (api, entrypoint), (buckets, total) in sorted(self._latencies.items()):
                labels, below = f'model_name="{self._name}",API="{api}",entrypoint="{entrypoint}"', 0
                for bound, count in zip([*(f"{bound:g}" for bound in BOUNDS), "+Inf"], buckets, strict=True):
                    below += count
                    lines.append(f'{LATENCY}_bucket{{{labels},le="{bound}"}} {below}')
                lines += [f"{LATENCY}_sum{{{labels}}} {total:.0f}", f"{LATENCY}_count{{{labels}}} {below}"]
        return "\n".join(lines) + "\n"
