"""Stands in for a policy service with a list of customers of its own. Protocol: SMTPD_POLICY_README."""

import socketserver


class Policy(socketserver.StreamRequestHandler):
    """One smtpd."""

    def handle(self) -> None:
        """Answer each request."""
        action = b"DUNNO"
        for line in self.rfile:
            if line.startswith(b"recipient="):
                action = b"REJECT" if line.endswith(b"@acme.example\n") else b"DUNNO"
            elif line == b"\n":
                self.wfile.write(b"action=" + action + b"\n\n")


socketserver.ThreadingTCPServer(("ADDRESS", 10023), Policy).serve_forever()
