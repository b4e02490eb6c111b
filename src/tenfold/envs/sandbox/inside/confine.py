"""Takes rights away from the process that calls: namespaces, limits, capabilities and system calls.

Each function raises ``OSError`` when the kernel refuses, so that nothing ever goes on less confined than it was meant
to be. ``isolated`` is false for ``allow_unsafe=True``, where only what needs no namespace is done.
"""

import ctypes
import os
import platform
import resource
import struct
from functools import cache

NEW_MOUNTS, NEW_USERS, NEW_PROCESSES = 0x0002_0000, 0x1000_0000, 0x2000_0000
NO_SETUID, NO_DEVICES, NO_EXECUTION = 2, 4, 8
SET_DUMPABLE, SET_SECCOMP, SET_NO_NEW_PRIVILEGES, SET_PARENT_DEATH_SIGNAL = 4, 22, 38, 1
THREADS = 32
PENDING_SIGNALS = 128
ALLOW, DENY, ABSENT, KILL = 0x7FFF_0000, 0x0005_0001, 0x0005_0026, 0x8000_0000  # DENY: EPERM, ABSENT: ENOSYS
OTHER_ABI = 0x4000_0000  # numbers of x32, a second door to the same system calls
CLONE_THREAD, CLONE_NAMESPACES = 0x0001_0000, 0x7E02_0000
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # as audit names it, column below
SYSTEM_CALLS = {  # name: number on x86_64, number on aarch64
    "socket": (41, 198),  # no network, and no talk between sessions by abstract names
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),  # memory that no limit counts
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "timer_create": (222, 107),  # could send SIGCONT to an idle session, which is stopped; setitimer cannot
    "io_setup": (206, 0),  # takes from a limit of the whole machine
    "inotify_init": (253, None),  # shows which installed files others use; likewise F_NOTIFY and F_SETLEASE below
    "inotify_init1": (294, 26),
    "flock": (73, 32),  # on an installed file it would block whoever else locks it
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
}
SIGNALS = {"kill": (62, 129), "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138)}
SIGNALS_TO_THREADS = {"tkill": (200, 130), "tgkill": (234, 131), "rt_tgsigqueueinfo": (297, 240)}
NUMBER_THIRD = ("tgkill", "rt_tgsigqueueinfo")
"""Those whose third argument is the signal; it is the second of all others."""
CONTINUE = 18
FORK, VFORK, CLONE, CLONE3, PRLIMIT = (57, None), (58, None), (56, 220), (435, 435), (302, 261)
FCNTL = (72, 25)
FCNTL_COMMANDS = {
    "F_SETSIG": 10,
    "F_OFD_SETLK": 37,
    "F_OFD_SETLKW": 38,
    "F_SETLEASE": 1024,
    "F_NOTIFY": 1026,
    "F_SETPIPE_SZ": 1031,
}
"""Refused: signals of one's choice from a descriptor, locks of open files, news of installed files, and pipes that use
up a user's share. F_SETLK and F_SETLKW stay, for SQLite needs them and a filter does not see the file: on an installed
file, which nobody can open for writing, the kernel then gives locks for reading alone."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def enter_new_process_namespace() -> None:
    """The next child of this process is process 1 of its own namespace."""
    _call("unshare", NEW_PROCESSES)


def return_to_process_namespace(pidfd: int) -> None:
    """Later children of this process are born into the namespace of the process behind ``pidfd`` again."""
    _call("setns", pidfd, NEW_PROCESSES)


def private_temporary_folder(size: int) -> None:
    """Mount an empty ``/tmp`` of at most ``size`` bytes that no other session sees, and go there."""
    _call("unshare", NEW_MOUNTS)
    options = f"size={size},nr_inodes=4096,mode=700".encode()
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", NO_SETUID | NO_DEVICES | NO_EXECUTION, options)
    os.chdir("/tmp")


def enter_new_user_namespace() -> None:
    """Leave the namespace in which this process has rights; processes are counted anew in the new one."""
    _call("unshare", NEW_USERS)


def drop_rights() -> None:
    """Give up every capability for good, and be closed to other processes of the same user."""
    _call("prctl", SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    header = struct.pack("<Ii", 0x2008_0522, 0)
    _call("capset", header, bytes(24))
    _call("prctl", SET_DUMPABLE, 0, 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the parent ends."""
    _call("prctl", SET_PARENT_DEATH_SIGNAL, 9, 0, 0, 0)


def set_limits(*, memory_bytes: int, cpu_seconds: int, temporary_bytes: int, processes: int, isolated: bool) -> None:
    """The limits of one process, which its children inherit."""
    bounds = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: temporary_bytes,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if isolated:  # outside of an own namespace it would count every process of the user
        bounds[resource.RLIMIT_NPROC] = THREADS if processes == 1 else processes
        bounds[resource.RLIMIT_SIGPENDING] = PENDING_SIGNALS
    for limit, bound in bounds.items():
        ceiling = resource.getrlimit(limit)[1]
        bound = bound if ceiling == resource.RLIM_INFINITY else min(bound, ceiling)
        resource.setrlimit(limit, (bound, bound))


def deny_system_calls(code: bytes) -> None:
    """Refuse, from here on, what ``system_call_filter`` says."""
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    _call("prctl", SET_SECCOMP, 2, program, 0, 0)


@cache
def system_call_filter(*, children: bool, signals: bool) -> bytes:
    """A program for the kernel's packet filter that refuses ``SYSTEM_CALLS``, which a computation does not need.

    Nobody sends SIGCONT: it would undo that an idle session is stopped.

    A word of it is operation, jump if true, jump if false, operand. Built once, in the warm parent.

    Args:
        children: child processes are allowed.
        signals: signals to processes are allowed, for there are only those of the session.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise OSError(f"the table of system calls has no column for {machine}")
    audit, column = ARCHITECTURES[machine]

    def load(offset: int) -> bytes:
        return struct.pack("<HBBI", 0x20, 0, 0, offset)

    def give(action: int) -> bytes:
        return struct.pack("<HBBI", 0x06, 0, 0, action)

    def if_equal(value: int, then: bytes) -> bytes:
        return struct.pack("<HBBI", 0x15, 0, len(then) // 8, value) + then

    def unless_equal(value: int, then: bytes) -> bytes:
        return struct.pack("<HBBI", 0x15, len(then) // 8, 0, value) + then

    def if_any_bit(bits: int, then: bytes) -> bytes:
        return struct.pack("<HBBI", 0x45, 0, len(then) // 8, bits) + then

    def unless_any_bit(bits: int, then: bytes) -> bytes:
        return struct.pack("<HBBI", 0x45, len(then) // 8, 0, bits) + then

    def if_number(numbers: tuple[int, int | None], then: bytes) -> bytes:
        number = numbers[column]
        return b"" if number is None else if_equal(number, then)

    number, architecture, first_argument, second_argument, third_argument = 0, 4, 16, 24, 32
    words = load(architecture) + unless_equal(audit, give(KILL)) + load(number)
    words += if_any_bit(OTHER_ABI, give(DENY))
    for numbers in (*SYSTEM_CALLS.values(), *(() if signals else SIGNALS.values())):
        words += if_number(numbers, give(DENY))
    for name, numbers in {**(SIGNALS if signals else {}), **SIGNALS_TO_THREADS}.items():
        place = third_argument if name in NUMBER_THIRD else second_argument
        words += if_number(numbers, load(place) + if_equal(CONTINUE, give(DENY)) + give(ALLOW))
    commands = b"".join(if_equal(command, give(DENY)) for command in FCNTL_COMMANDS.values())
    words += if_number(FCNTL, load(second_argument) + commands + give(ALLOW))
    words += if_number(CLONE3, give(ABSENT))  # its flags cannot be seen from here; libraries then use clone
    words += if_number(PRLIMIT, load(first_argument) + unless_equal(0, give(DENY)) + give(ALLOW))
    orphan = b"" if children else unless_any_bit(CLONE_THREAD, give(DENY))
    words += if_number(CLONE, load(first_argument) + if_any_bit(CLONE_NAMESPACES, give(DENY)) + orphan + give(ALLOW))
    if not children:
        words += if_number(FORK, give(DENY)) + if_number(VFORK, give(DENY))
    return words + give(ALLOW)
