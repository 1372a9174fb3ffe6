# SPDX-License-Identifier: BSD-2-Clause
"""Handles of libnbd on the exports of a daemon, and what of them is an error."""

import world
from world import MIB, equal
import nbd

BLOCK = 4096
numbers = iter(range(1 << 20))


def connect(d, name, contexts=(), strict=False, port=None, **options):
    """A handle on an export; options are calls of set_..."""
    h = nbd.NBD()
    h.set_export_name(name)
    for context in contexts:
        h.add_meta_context(context)
    for option, value in options.items():
        getattr(h, "set_" + option)(value)
    if not strict:
        h.set_strict_mode(0)
    if port:
        h.connect_tcp("127.0.0.1", str(port))
    else:
        h.connect_unix(d.nbd)
    return h


def haggler(d, name="", contexts=()):
    """A handle that has not chosen an export yet."""
    return connect(d, name, contexts, strict=True, opt_mode=True)


def fresh(d, size=MIB, data=b""):
    """The name of a new object."""
    name = f"object{next(numbers)}"
    d.ctl("create", name, size)
    if data:
        d.ctl("write", name, data=data)
    return name


def refused(errors, function, *args):
    """It fails with one of these errors: names, in one word."""
    try:
        function(*args)
    except nbd.Error as err:
        if err.errno not in errors.split():
            raise AssertionError(f"{err.errno} and not {errors}: {err}") from err
        return str(err)
    raise AssertionError(f"no error where there should be one of {errors}")


def statuses(h, length, offset, flags=0):
    """context -> [(length, flags)] of one request."""
    found = {}

    def extent(context, start, entries, _error):
        equal(start, offset, "offset of the reply")
        if context in found:
            raise AssertionError("a context twice in one reply")
        found[context] = list(zip(entries[::2], entries[1::2]))

    h.block_status(length, offset, extent, flags)
    return found
