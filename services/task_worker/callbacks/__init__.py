"""Callbacks: POSTs to whoever asked to be told, signed by Standard Webhooks, sent until they are taken.

Rows of `callbacks` are written by every worker's runtime in the transaction of the command that owes one; here they are
sent (`sender`), to targets that are checked at the moment of sending (`targets`), and shown (`commands`).
"""
