#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""STARTTLS against its rules: bytes that are injected before TLS, state that was negotiated before it, a second
STARTTLS, clients that are cut off in it.

    starttls.py SOCKET CERTIFICATES EXPORT
"""

import os
import ssl
import struct
import sys

import raw
from raw import Raw, Ended, info_data, option


def context(folder):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(folder + "/ca-cert.pem")
    tls.load_cert_chain(folder + "/client-cert.pem", folder + "/client-key.pem")
    return tls


def upgraded(address, tls, before=b"", expect=()):
    """A client that has TLS; "before" is sent first, in one piece with STARTTLS."""
    h = Raw(address)
    h.send(before + option(raw.STARTTLS))
    for number in expect:
        assert h.answers(number)[-1][0] == raw.ACK
    assert h.answers(raw.STARTTLS)[-1][0] == raw.ACK
    h.s = tls.wrap_socket(h.s, server_hostname="localhost")
    h.structured = False
    return h


def state_is_gone(address, tls, name):
    """Structured replies that were negotiated in plain text are not in force."""
    h = upgraded(address, tls, option(raw.STRUCTURED_REPLY), [raw.STRUCTURED_REPLY])
    assert h.last(raw.GO, info_data(name)) == raw.ACK
    assert len(h.read(0, 100)) == 100
    h = upgraded(address, tls, option(raw.STRUCTURED_REPLY), [raw.STRUCTURED_REPLY])
    assert h.last(raw.SET_META, raw.meta_data(name, ["base:allocation"])) == raw.INVALID


def twice(address, tls, name):
    """TLS in TLS is refused, and the haggling goes on."""
    h = upgraded(address, tls)
    assert h.last(raw.STARTTLS) == raw.INVALID
    h.go(name)
    assert len(h.read(0, 100)) == 100


def injected(address, tls, name):
    """What comes behind STARTTLS and before TLS is no option of the TLS session."""
    for bytes_behind in (option(raw.LIST), option(raw.GO, info_data(name)), b"x", bytes(1000)):
        h = Raw(address)
        h.send(option(raw.STARTTLS) + bytes_behind)
        try:
            assert h.answers(raw.STARTTLS)[-1][0] == raw.ACK
            h.s = tls.wrap_socket(h.s, server_hostname="localhost")
            # it may go on, as if they had not been sent: then the first answer is to what is sent here
            replies = h.haggle(raw.INFO, info_data(name))
            assert replies[-1][0] == raw.ACK
        except (Ended, ssl.SSLError, OSError):
            continue


def client_hello(tls):
    """The first bytes of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        half.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def cut(address, tls, name):
    """A client that is cut off in the handshake of TLS."""
    hello = client_hello(tls)
    for at in range(0, len(hello), 3):
        h = Raw(address)
        h.send(option(raw.STARTTLS))
        assert h.answers(raw.STARTTLS)[-1][0] == raw.ACK
        h.send(hello[:at])
        h.close()
    upgraded(address, tls).go(name).close()


def noise(address, tls, name):
    """A client that does not speak TLS behind STARTTLS."""
    for data in (struct.pack(">I", raw.REQUEST) * 100, b"\x16\x03\x01\xff\xff" + bytes(70000), os.urandom(5000)):
        h = Raw(address)
        h.send(option(raw.STARTTLS))
        assert h.answers(raw.STARTTLS)[-1][0] == raw.ACK
        try:
            h.send(data)
            h.s.shutdown(1)
            while h.s.recv(1 << 16):  # an alert, perhaps
                pass
        except (Ended, OSError):
            pass
    upgraded(address, tls).go(name).close()


def old_version(address, tls, name):
    """A client that has TLS 1.2 and no newer one."""
    old = context(sys.argv[2])
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        upgraded(address, old)
        raise AssertionError("TLS 1.2 is served")
    except (ssl.SSLError, ConnectionError):
        pass
    upgraded(address, tls).go(name).close()


def main():
    address, folder, name = sys.argv[1:]
    tls, failed = context(folder), 0
    for case in (state_is_gone, twice, injected, cut, noise, old_version):
        try:
            case(address, tls, name)
        except Exception as err:  # each is to be run
            failed = 1
            print(f"{case.__name__}: {type(err).__name__}: {err}")
    sys.exit(failed)


main()
