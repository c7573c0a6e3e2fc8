"""A small mail server on a real socket: SMTP with STARTTLS and AUTH PLAIN, answering as it is told to."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path


@dataclass
class MailServer:
    """What was received, and how to answer.

    Attributes:
        address: `host:port`.
        answers: Replies to verbs that differ from a friendly server's, used up one by one.
        mails: Taken mails.
        recipients: Of each taken mail.
        logins: (user, password, whether the line was encrypted).
    """

    address: str = ""
    answers: dict[str, list[str]] = field(default_factory=dict)
    mails: list[Message] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)


class _Handler(socketserver.StreamRequestHandler):
    """One connection; `kept` and `certificate` are set by a subclass per server."""

    kept: MailServer
    certificate: Path | None

    def handle(self) -> None:
        self.to: list[str] = []
        self.is_encrypted = False
        self.say("220 mail.test ready")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            if planned := self.kept.answers.get(verb.upper()):
                reply = planned.pop(0)
                if reply == "hang up":
                    return
                self.say(reply)
            elif not getattr(self, f"do_{verb.lower()}", self.unknown)(rest):
                return

    def say(self, text: str) -> bool:
        self.wfile.write(f"{text}\r\n".encode())
        return True

    def unknown(self, _: str) -> bool:
        return self.say("502 not here")

    def do_ehlo(self, _: str) -> bool:
        offered = ["STARTTLS"] if self.certificate and not self.is_encrypted else []
        names = ["mail.test", "AUTH PLAIN", *offered]
        for name in names[:-1]:
            self.say(f"250-{name}")
        return self.say(f"250 {names[-1]}")

    def do_starttls(self, _: str) -> bool:
        self.say("220 go ahead")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert self.certificate is not None
        context.load_cert_chain(self.certificate)
        try:
            encrypted = context.wrap_socket(self.connection, server_side=True)
        except ssl.SSLError:  # the client did not trust the certificate and hung up
            return False
        self.rfile, self.wfile = encrypted.makefile("rb"), encrypted.makefile("wb", buffering=0)
        self.is_encrypted = True
        return True

    def do_auth(self, rest: str) -> bool:
        _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        self.kept.logins.append((user, password, self.is_encrypted))
        return self.say("235 welcome")

    def do_mail(self, _: str) -> bool:
        self.to = []
        return self.say("250 ok")

    def do_rcpt(self, rest: str) -> bool:
        self.to.append(rest.partition("<")[2].partition(">")[0])
        return self.say("250 ok")

    def do_data(self, _: str) -> bool:
        self.say("354 go on")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self.kept.mails.append(message_from_bytes(b"".join(lines)))
        self.kept.recipients.append(self.to)
        return self.say("250 taken")

    def do_rset(self, _: str) -> bool:
        return self.say("250 ok")

    def do_quit(self, _: str) -> bool:
        self.say("221 bye")
        return False


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[MailServer]:
    """A mail server on a free port until the block ends; offers STARTTLS where it has a certificate (PEM)."""
    kept = MailServer()
    handler = type("Handler", (_Handler,), {"kept": kept, "certificate": certificate})
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.address = f"localhost:{server.server_address[1]}"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
