"""Worker processes of one thread each: two small models train faster side by side than one on two threads.

They are forked from a server process (`multiprocessing`'s forkserver) that has imported what they need, once for all.
"""

import multiprocessing.forkserver
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from queue import Empty
from typing import Any

from goldpanner.errors import GoldpannerError
from goldpanner.progress import Event, Notify

Job = tuple[Callable[..., None], tuple[Any, ...]]
"""A module-level function, called with a `Notify` and then its arguments."""


class WorkerError(Exception):
    """A worker failed; its traceback is in the message."""


class WorkerDiedError(GoldpannerError):
    """A worker process was killed from outside; nothing that it had finished is lost."""


def side_by_side(jobs: Sequence[Job], progress: Notify) -> None:
    """Run every job in a process of its own and hand their events to `progress`; return when all are done.

    Raises what a job raised if that is a GoldpannerError, WorkerError for anything else or a worker that died. The
    other workers are stopped first, as they are on Ctrl-C: work is written so that stopping it anywhere loses nothing.
    """
    import_early(sorted({function.__module__ for function, _ in jobs}))
    context = get_context("forkserver")
    queue = context.Queue()
    processes = [context.Process(target=_child, args=(queue, *job), daemon=True) for job in jobs]
    try:
        for process in processes:
            process.start()
        _listen(queue, processes, progress)
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def import_early(modules: Sequence[str]) -> None:
    """Start the server process, if none runs, and let it import modules while this process does something else.

    Args:
        modules: names of modules; a running server keeps those that it was started with.
    """
    get_context("forkserver").set_forkserver_preload(["torch", *modules])
    multiprocessing.forkserver.ensure_running()


def _listen(queue: Any, processes: Sequence[BaseProcess], progress: Notify) -> None:
    finished = 0
    while finished < len(processes):
        try:
            message = queue.get(timeout=0.2)
        except Empty:
            dead = [p for p in processes if p.exitcode not in (None, 0)]
            if dead and queue.empty():
                code = dead[0].exitcode
                why = "was killed (out of memory?)" if code and code < 0 else "ended with its own message, above"
                raise WorkerDiedError(
                    f"a worker process {why}, exit code {code}; run the command again to go on"
                ) from None
            continue
        if isinstance(message, Event):
            progress(message)
        elif message is None:
            finished += 1
        else:
            error, trace = message
            raise error if isinstance(error, GoldpannerError) else WorkerError(trace)


def _child(queue: Any, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it stops the workers
    threading.Thread(target=_follow_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    try:
        function(queue.put, *arguments)
        queue.put(None)
    except Exception as error:
        own_error = error if isinstance(error, GoldpannerError) else None
        queue.put((own_error, traceback.format_exc()))
    queue.close()
    queue.join_thread()
    sys.exit(0)


def _follow_parent() -> None:
    """End this process when the one that started the workers is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
