"""One file per exchange: facts, no code that touches a socket, a level or a number."""
