"""The gRPC server of a service, and its channels to other services.

Server: token, role, field rules, refusals as google.rpc.Status (`incoming`, `server`). Channel: token,
deadline, retries, refusals from the status (`channel`). `identity` makes and verifies tokens, `names` reads
resource names.
"""
