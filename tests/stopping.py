"""A display that stops a training, for tests of what goes on afterwards."""


class StopAfter:
    """Remembers the steps that are done, and asks its cell for a stop, or crashes, once one of them is.

    Give it to the cell as its display, and the cell to it.
    """

    def __init__(self, step=None, crash=False):
        self.step, self.crash, self.cell, self.done = step, crash, None, []

    def update(self, done, total, metrics, rate):
        self.done.append(done)
        if done == self.step and self.crash:
            raise ConnectionError("the machine went away")
        if done == self.step:
            self.cell.request_stop()
