"""The desk: an engine in a process of its own, behind REST and a WebSocket, which notebooks attach to."""
