"""The client of GlycanAge's API, over real sockets: its settings, its limits, and a line for every error."""
