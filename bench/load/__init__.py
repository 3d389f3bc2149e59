"""What offers the load and counts what arrives: wrk, a WebSocket sink and a paced publisher."""
