"""LocalStack's server, bound to the address in GATEWAY_LISTEN.

As it comes it reads the port and ignores the host (a TODO in `localstack.runtime.server.twisted`), so that anyone on
the network could run code on this machine.
"""

import ipaddress
import os

from localstack.aws.serving.twisted import TLSMultiplexerFactory
from localstack.config import HostAndPort
from localstack.runtime.server.twisted import TwistedRuntimeServer
from rolo.gateway import Gateway
from rolo.serving.twisted import TwistedGateway
from twisted.internet import endpoints, reactor, ssl


class LoopbackServer(TwistedRuntimeServer):
    """The same server, with the interface said."""

    def register(self, gateway: Gateway, listen: list[HostAndPort], ssl_creds: tuple[str, str] | None = None) -> None:
        """Listen on every address in `listen`; refuse one that is not loopback."""
        factory = TwistedGateway(gateway)
        if ssl_creds:
            certificate, key = ssl_creds
            context = ssl.DefaultOpenSSLContextFactory(key, certificate)
            context.getContext().use_certificate_chain_file(certificate)
            factory = TLSMultiplexerFactory(context, False, factory)
        for address in listen:
            ip = ipaddress.ip_address(address.host)
            if not ip.is_loopback:
                raise ValueError(f"The local cloud listens on loopback only, and GATEWAY_LISTEN says {address.host}")
            endpoint_type = endpoints.TCP6ServerEndpoint if ip.version == 6 else endpoints.TCP4ServerEndpoint
            listening = endpoint_type(reactor, address.port, interface=address.host).listen(factory)
            # Without this a taken port is a line in the log, and a server that serves nothing.
            listening.addErrback(_stop)


def _stop(failure: object) -> None:
    print(f"ERROR: {failure}", flush=True)  # noqa: T201 - the log of a process
    os._exit(98)
