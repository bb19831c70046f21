"""One product: command line, config, supervisor, simulator."""
