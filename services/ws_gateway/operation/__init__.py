"""Looking at the gateway and shutting it down: the status display, what it measures, orders."""
