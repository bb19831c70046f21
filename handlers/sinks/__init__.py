"""Sinks: processes that read the journal at their own offset and bring it elsewhere (docs/sinks.md)."""
