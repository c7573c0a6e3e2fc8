"""Delivery: each alert reaches each channel that wants it, however long the receiver is down."""
