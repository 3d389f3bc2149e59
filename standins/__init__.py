"""Other people's services, stood in for on the loopback: for tests, benchmarks and the demonstration.

Each is a server in a thread of its own: `with MessagesAPI() as api`, then `api.url`. By hand, or beside the services:
`python -m standins messages_api --port 8021`. They are in no image, and services never import them.

| module | stands in for |
|---|---|
| `messages_api` | Anthropic's Messages API, without a model: what it answers is directed by the text it is sent |
| `campfire` | a Campfire server: rooms, webhooks to bots, and the API that bots answer through |
| `embeddings` | an OpenAI-compatible embeddings endpoint |
"""
