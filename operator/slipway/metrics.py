"""The operator's own metrics. Names as controller-runtime's, so that known dashboards and alerts apply."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

RECONCILES = Counter("slipway_reconcile_total", "Passes by kind and result.", ["controller", "result"])
RECONCILE_ERRORS = Counter(
    "slipway_reconcile_errors_total", "Passes that failed and are retried.", ["controller"]
)
RECONCILE_SECONDS = Histogram(
    "slipway_reconcile_time_seconds", "Time of one pass.", ["controller"], buckets=_FAST
)
QUEUE_DEPTH = Gauge("slipway_workqueue_depth", "Keys waiting for a worker.")
QUEUE_ADDS = Counter("slipway_workqueue_adds_total", "Keys put in the queue, after coalescing.")
QUEUE_RETRIES = Counter("slipway_workqueue_retries_total", "Keys put back after a failed pass.")
QUEUE_SECONDS = Histogram("slipway_workqueue_queue_duration_seconds", "Time a key waited.", buckets=_FAST)
QUEUE_UNFINISHED = Gauge("slipway_workqueue_unfinished_work_seconds", "Age of the oldest pass under way.")
API_REQUESTS = Counter("slipway_api_requests_total", "Requests to the Kubernetes API.", ["verb", "code"])
WATCH_EVENTS = Counter("slipway_watch_events_total", "Watch events by kind and use.", ["kind", "use"])
WATCH_LAST_EVENT = Gauge(
    "slipway_watch_last_event_timestamp_seconds", "When a watch last said something.", ["kind"]
)
GHOSTS = Counter(
    "slipway_watch_missed_changes_total", "Changes that only the periodic list showed, no watch.", ["kind"]
)
RESOURCES = Gauge("slipway_resources", "Objects in the cache.", ["kind"])
PHASES = Gauge("slipway_resource_phase", "Objects of ours by phase.", ["kind", "phase"])
LEADER = Gauge("slipway_leader", "1 in the active replica.")
LOOP_LAG = Gauge(
    "slipway_event_loop_lag_seconds", "How late the event loop woke up, worst of the last minute."
)
BUILD = Gauge("slipway_build_info", "1, with the version as a label.", ["version"])
