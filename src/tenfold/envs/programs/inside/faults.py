"""What ends a run of a program early."""


class ProgramFault(Exception):
    """The program asks for something that its vocabulary does not have or allow; the message is one line."""


class BranchOnRandom(Exception):
    """The program does something with the values of many particles that can be done with one value only."""


class NoneLeft(Exception):
    """No particle meets the conditions so far."""


class Rejected(Exception):
    """The one particle of a scalar run fails a condition."""
