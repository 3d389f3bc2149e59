"""Which agents are there, over all gateways: presence, the gossip it lives on, seats and readiness."""
