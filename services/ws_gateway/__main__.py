"""Run the gateway: `python -m services.ws_gateway`."""

import uvloop

from services.ws_gateway.app import run
from services.ws_gateway.settings import GatewaySettings

if __name__ == "__main__":
    uvloop.run(run(GatewaySettings()))
