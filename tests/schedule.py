"""How tests are handed to the processes that share them: what takes long comes first, so that all end together.

`--dist loadfile` by itself begins with the files of the most tests, which leaves the few long ones for the end, where
one process waits for the other.
"""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# These run on servers of their own, which one process starts once; and they break them one at a time, beside tests that
# mostly compute.
TOGETHER = ("tests/faults/", "tests/e2e/")

# In seconds, where a file takes more than ten, or more than a few for a handful of tests; only the order matters.
LONG = {
    "tests/integration/ingress/test_broker_trouble.py": 90,
    "tests/integration/cli/test_up.py": 45,
    "tests/integration/bus/test_outages.py": 40,
    "tests/integration/claude_worker/test_limits.py": 40,
    "tests/integration/ws_gateway/test_replicas.py": 35,
    "tests/integration/ingress/test_keys.py": 30,
    "tests/browser/test_dashboard.py": 25,
    "tests/browser/test_agents_view.py": 22,
    "tests/integration/task_worker/test_left_behind.py": 20,
    "tests/integration/ws_gateway/test_events.py": 20,
    "tests/integration/cli/test_servers.py": 18,
    "tests/integration/cli/test_stack.py": 16,
    "tests/integration/bus/test_tail.py": 15,
    "tests/integration/ws_gateway/test_slow.py": 15,
    "tests/browser/test_live.py": 15,
    "tests/integration/ws_gateway/test_doors.py": 13,
    "tests/integration/session_worker/test_service.py": 12,
    "tests/integration/ws_gateway/test_operations.py": 12,
    "tests/integration/bus/test_publisher.py": 12,
    "tests/integration/session_worker/test_dead_letters.py": 11,
    "tests/unit/session_worker/test_extraction.py": 5,
    "tests/unit/ws_gateway/test_any_order.py": 5,
    "tests/unit/ws_gateway/test_idle.py": 5,
    "tests/unit/bench/test_peers.py": 5,
    "tests/unit/ws_gateway/test_gossip_fuzz.py": 3,
    "tests/unit/ws_gateway/test_pacing_chaos.py": 3,
    "tests/unit/ws_gateway/test_presence_chaos.py": 3,
}


class LongestFirst(LoadFileScheduling):
    """`loadfile`, with the longest first, and with what runs together as one file."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid) or super()._split_scope(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
        super()._assign_work_unit(node)


def together(nodeid: str) -> str:
    """The folder a test goes with as a whole, or nothing."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), "")


def rank(scope: str) -> tuple[int, int]:
    """The smaller, the earlier: folders, long files, other tests with servers, and last those that need none."""
    if scope in TOGETHER:
        return 0, TOGETHER.index(scope)
    if seconds := LONG.get(scope):
        return 1, -seconds
    return (3 if scope.startswith("tests/unit/") else 2), 0
