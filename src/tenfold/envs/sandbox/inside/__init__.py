"""What runs inside of the sandbox: only the standard library is imported here, and nothing of tenfold.

``warm_parent`` imports the modules once and forks; ``guard`` is process 1 of a session, speaks with the host and runs
no foreign code; ``interpreter`` runs the programs; ``confine`` takes rights away; ``frames`` is the protocol;
``collector`` bounds the output. ``as_unprivileged`` runs before all of them, where root starts the sandbox.
"""
