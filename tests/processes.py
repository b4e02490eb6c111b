"""Processes that tests start: each is forked from one that has imported torch and trl, so that it begins at once.

The one that they are forked from has computed nothing, and none of them has what a test has done before.
"""

import multiprocessing
import os
import socket
import time
import traceback

DEADLINE = 300  # seconds, for what would hang if it were broken
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tenfold.train.sft", "tenfold.train.grpo"])


def start(function, *arguments, log, **variables):
    """A process that calls a function of an importable module; an error is in the file ``log``."""
    process = SERVER.Process(target=_call, args=(function, arguments, log, variables))
    process.start()
    return process


def launch(function, *arguments, folder):
    """Call a function in two processes that find each other as torchrun's do; returns when both have ended well."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    logs = [folder / f"process-{rank}.log" for rank in range(2)]
    started = [
        start(function, *arguments, log=log, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank, log in enumerate(logs)
    ]
    ended = _wait(started)
    assert ended == [0, 0], f"{ended}\n" + "".join(log.read_text()[-3000:] for log in logs if log.is_file())


def _wait(started):
    """The exit codes of processes; where one has failed, the others wait for it, and are killed."""
    until = time.monotonic() + DEADLINE
    while any(process.is_alive() for process in started) and not any(process.exitcode for process in started):
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    for process in started:
        process.kill()
        process.join()
    return [process.exitcode for process in started]


def _call(function, arguments, log, variables):
    import torch

    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        function(*arguments)
    except BaseException:
        log.write_text(traceback.format_exc())
        os._exit(1)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    os._exit(0)  # all is written; threads of gloo and of its store may abort an interpreter that ends before them
