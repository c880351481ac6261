"""One request's way into a service and out of it, and from one service to another.

In: token, role, field rules, the refusal as a google.rpc.Status (`edge`, `server`). Out: token, deadline,
retries, the refusal back from the status (`channel`). `identity` makes and verifies tokens, `names` reads
resource names.
"""
