"""The pocket internet: DNS, certificates, other people's servers, a clock and faults, all on loopback."""
