"""What operators watch: requests by route and status, their time, and what runs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_ROUTES = ("/v1/chat/completions", "/v1/embeddings", "/v1/models", "/api", "/healthz", "/readyz")


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "sculptor_requests", "Requests answered", ("route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "sculptor_request_seconds",
            "Seconds a request took",
            ("route",),
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
            registry=self.registry,
        )
        self.running = Gauge("sculptor_running", "Requests at work", registry=self.registry)
        self._children: dict[tuple[str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        route = next((route for route in _ROUTES if path.startswith(route)), "other")
        child = self._children.get((route, status))
        if child is None:
            child = self._children[route, status] = self._requests.labels(route, str(status))
            self._timers[route] = self._seconds.labels(route)
        child.inc()
        self._timers[route].observe(seconds)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
