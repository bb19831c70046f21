"""Bytes from the wire: transports, TLS, WebSocket."""
