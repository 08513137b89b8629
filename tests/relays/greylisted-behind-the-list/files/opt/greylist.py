"""Stands in for postgrey: puts everybody off. Protocol: SMTPD_POLICY_README."""

import socketserver


class Policy(socketserver.StreamRequestHandler):
    """One smtpd."""

    def handle(self) -> None:
        """Answer each request."""
        for line in self.rfile:
            if line == b"\n":
                self.wfile.write(b"action=DEFER_IF_PERMIT Greylisted, see you later\n\n")


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("ADDRESS", 10023), Policy).serve_forever()
