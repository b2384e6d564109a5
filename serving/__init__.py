"""Exports in TF-Serving's layout, a local server that speaks its gRPC, and a client."""
