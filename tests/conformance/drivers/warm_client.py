# Asks the warm server for a Python process that has this one's place: arguments, variables, folder, standard streams.
import array
import json
import os
import socket as sockets
import sys


def start(socket: str, begins: list[str]) -> int:
    """The exit code of the process; ends it when this one is ended, since the server sees the connection close."""
    asked = json.dumps({"argv": [*begins, *sys.argv[1:]], "environment": dict(os.environ), "folder": os.getcwd()})
    with sockets.socket(sockets.AF_UNIX) as connection:
        connection.connect(socket)
        streams = [(sockets.SOL_SOCKET, sockets.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
        connection.sendmsg([len(asked.encode()).to_bytes(4, "big")], streams)
        connection.sendall(asked.encode())
        said = connection.recv(4)
    return int.from_bytes(said, "big") if said else 1
