"""The inference service: one router that the API mounts, and an application for an image of its own.

Add an endpoint here when a model answers it from its input alone. Avoid training, and avoid deciding
what serves: the promotion ledger does.
"""
