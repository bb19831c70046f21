"""The exchanges, played on this machine: real TLS, real protocols, scripted faults."""
