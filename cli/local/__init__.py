"""The servers and services that run on this machine, and the processes behind them."""
