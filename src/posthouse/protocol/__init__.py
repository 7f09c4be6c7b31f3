"""Protocol cores without input or output: octets in, events out; decisions in, octets out.

Every server core has the same shape, so that one pump can drive any of them: `receive`, `next_event`,
`answer`, `take_output`, `wants_tls` and `tls_started`, `closing`, `timeout`, `time_out`, `shut_down`.
Nothing in here opens a socket, asks the time or rolls dice.
"""
