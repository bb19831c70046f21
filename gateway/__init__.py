"""Books to people: the WebSocket gateway and the HTTP interface."""
