"""What the machine tells of itself: the log, and counters for Prometheus.

What happened to one letter is the journey's business, not the log's.
"""
