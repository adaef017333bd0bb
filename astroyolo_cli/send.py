"""A catalog to TOPCAT, DS9 or Aladin by SAMP, the protocol by which these programs talk (IVOA, SAMP 1.3)."""

from __future__ import annotations

import shutil
import tempfile
import xmlrpc.client
from contextlib import contextmanager
from pathlib import Path

from astropy.table import Table

from .columns import column_called
from .errors import AstroYOLOError, InputError, reason_of
from .files import BROKEN_FILE
from .tables import described, read_table
from .write import ascii_only, write_votable

MESSAGE = "table.load.votable"
PATIENCE = 60  # seconds, for a program to load the table


def send(path: Path, to: str | None = None) -> list[tuple[str, str]]:
    """Let the programs that run now load a catalog.

    They get a VOTable copy in the folder for temporary files. It stays there, as some read it after they have answered.

    Args:
        path: in any format that ``read_table`` reads.
        to: part of the program's SAMP name, in either case; None for all programs that take tables.

    Returns:
        A pair a program: its name, and why it did not load the table, or "" if it did.

    Raises:
        InputError: for a catalog that cannot be read.
        AstroYOLOError: without pyvo, a hub, or a program that takes tables.
    """
    table = read_table(path)
    if all(map(column_called, table.colnames)):  # a table with other columns is not one of ours
        described(table)
    with registered() as (hub, key):
        clients = chosen(receivers(hub, key), to)
        copy = votable_copy(table, path)
        known = {"url": copy.as_uri(), "name": ascii_only(path.name), "table-id": copy.as_uri()}
        message = {"samp.mtype": MESSAGE, "samp.params": known}
        told = [(name, refusal(hub, key, client, message)) for client, name in clients.items()]
    if all(reason for _, reason in told):
        shutil.rmtree(copy.parent, ignore_errors=True)
    return told


@contextmanager
def registered():
    """The hub, and the key by which it knows this program, until the block ends.

    Raises:
        AstroYOLOError: if pyvo is missing or no hub answers.
    """
    try:
        from pyvo.samp import SAMPHubError, SAMPHubProxy
    except ImportError as error:
        raise AstroYOLOError("send needs pyvo: pip install 'astroyolo[samp]'") from error
    hub = SAMPHubProxy()  # not SAMPIntegratedClient, which asks google.com whether there is an internet
    try:
        hub.connect()
        key = hub.register(hub.lockfile["samp.secret"])["samp.private-key"]
        hub.declare_metadata(key, {"samp.name": "AstroYOLO", "samp.description.text": "Catalogs of stars and galaxies"})
    except (SAMPHubError, xmlrpc.client.Error, OSError, KeyError, ValueError) as error:
        raise AstroYOLOError(f"no SAMP hub answers ({reason_of(error)}); start TOPCAT, Aladin or DS9, which open one") from error
    try:
        yield hub, key
    finally:
        leave(hub, key)


def leave(hub, key: str) -> None:
    try:
        hub.unregister(key)
    except (xmlrpc.client.Error, OSError):
        pass  # the hub has gone first
    hub.disconnect()


def receivers(hub, key: str) -> dict[str, str]:
    """Client -> name (its client, where it has none), of all that take tables."""
    try:
        clients = hub.get_subscribed_clients(key, MESSAGE)
        return {client: hub.get_metadata(key, client).get("samp.name") or client for client in clients}
    except (xmlrpc.client.Error, OSError) as error:
        raise AstroYOLOError(f"the SAMP hub stopped answering ({reason_of(error)}); start TOPCAT, Aladin or DS9 again") from error


def chosen(clients: dict[str, str], to: str | None) -> dict[str, str]:
    """Those of the clients whose name holds ``to``.

    Raises:
        AstroYOLOError: if none is left.
    """
    if not clients:
        raise AstroYOLOError("no program on the SAMP hub takes tables; start TOPCAT, Aladin or DS9, or connect it to the hub")
    found = {client: name for client, name in clients.items() if to is None or to.lower() in name.lower()}
    if not found:
        raise AstroYOLOError(f"--to: no program {to!r} on the SAMP hub takes tables; there are {', '.join(sorted(clients.values()))}")
    return found


def votable_copy(table: Table, path: Path) -> Path:
    """The table in a new folder for temporary files, under a name that needs no escapes in a URL."""
    folder = Path(tempfile.mkdtemp(prefix="astroyolo-send-"))
    try:
        write_votable(table, folder / "catalog.vot")
    except BROKEN_FILE as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"{path}: cannot become a VOTable ({reason_of(error)}); leave out columns that no VOTable has") from error
    return folder / "catalog.vot"


def refusal(hub, key: str, client: str, message: dict) -> str:
    """Why a client did not load the table; "" if it did."""
    try:
        answer = hub.call_and_wait(key, client, message, str(PATIENCE))
    except (xmlrpc.client.Error, OSError) as error:
        return f"no answer in {PATIENCE} s: {reason_of(error)}"
    if answer.get("samp.status") != "samp.error":
        return ""
    return " ".join(str(answer.get("samp.error", {}).get("samp.errortxt", "")).split()) or "no reason given"
