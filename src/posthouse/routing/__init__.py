"""What a recipient is: an account here, an alias of others, an address that we relay to, or nobody.

Routing says where a recipient's letter goes and by which next hop; whether the one who asks may send
there is policy's to say. It only names the domain of a next hop: MX look-ups are outbound's.
"""

from posthouse.routing.notification import Carried, carry_over
from posthouse.routing.route import Kind, Local, Remote, Resolution, Unknown
from posthouse.routing.router import Router

__all__ = ["Carried", "Kind", "Local", "Remote", "Resolution", "Router", "Unknown", "carry_over"]
