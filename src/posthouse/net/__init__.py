"""The network: supervisor and workers, listeners, the pump between a core and a socket, TLS, DNS."""
