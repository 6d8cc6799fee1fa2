"""An IMITATION of Windows on Linux, for processes that have this folder first on PYTHONPATH. It is no Windows.

Imitated, after Python's documentation of `os`, `signal`, `subprocess`, `msvcrt`, and Microsoft's of `_locking`:

- For the project's own code (libraries have branches for Windows of their own, which nothing here runs): the modules in
  MODULES and the names in OS and SIGNAL do not exist; `ctypes.CDLL(None)` is a TypeError; there is no /proc/cpuinfo and
  no /sys; `msvcrt` exists and locks; psutil tells the peak memory as on Windows; SIGBREAK exists (it is Linux's
  SIGQUIT).
- `os.kill` ends the process at once, whatever the signal; `signal.signal` takes Windows' signals only.
- Processes: `subprocess` ignores `start_new_session` and refuses `preexec_fn`; `multiprocessing` has `spawn` only.
- Folders cannot be opened. `os.fsync` refuses a descriptor that is open for reading only.
- `os.rename` refuses an existing target. A file that a process has open or mapped cannot be replaced, renamed or
  removed, nor a folder that holds one or is a process's current one. Files are found by their inode, so that an open
  hard link counts, as on Windows. The processes are this one and those that noted themselves in the folder
  $IMITATION_PROCESSES.
- Names: `<>:"|?*` and control characters, a dot or space at the end, and CON, NUL, ... are refused; so is a name that
  differs by case alone from one that this process has created (on Windows they are one file).
- Text: cp1252 where no encoding is given, in files, pipes and on stdin, stdout and stderr; lines end in CR LF.
- `os.symlink` lacks a privilege. With $IMITATION_FAT there are no hard links either.

Only a real Windows shows: paths with drives, backslashes or more than 260 characters; code pages other than 1252; how
Paddle's, OpenCV's and Pillow's own code opens files; Ctrl-C at a console; a locked byte that others cannot read
(`msvcrt.locking` is a lock among those who ask, here); virus scanners; pipes and handles of processes; integers of 32
bits, which numpy 1.26 has there by default.
"""

import builtins
import ctypes
import errno
import fcntl
import io
import multiprocessing
import multiprocessing.context
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[3]) + os.sep
MODULES = {"fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "readline", "curses", "posix"}
OS = """
fork forkpty setsid getsid setpgrp setpgid getpgid getpgrp killpg tcgetpgrp tcsetpgrp getuid geteuid getgid getegid
getgroups setuid setgid getpriority setpriority nice sched_getaffinity sched_setaffinity sched_yield statvfs fstatvfs
mkfifo mknod chown fchown lchown chroot uname sysconf pathconf confstr getloadavg wait wait3 wait4 waitid WNOHANG
posix_spawn posix_fallocate posix_fadvise register_at_fork fdatasync sync lockf pipe2 openpty ctermid ttyname
memfd_create eventfd sendfile pread pwrite readv writev getrandom getxattr setxattr O_DIRECTORY O_NOFOLLOW O_NONBLOCK
O_CLOEXEC O_SYNC O_DSYNC O_TMPFILE O_PATH
""".split()  # noqa: SIM905
SIGNAL = """
SIGKILL SIGHUP SIGQUIT SIGCHLD SIGCLD SIGPIPE SIGALRM SIGUSR1 SIGUSR2 SIGSTOP SIGTSTP SIGCONT SIGTTIN SIGTTOU SIGBUS
SIGWINCH SIGIO SIGPOLL SIGPROF SIGTRAP SIGURG SIGVTALRM SIGXCPU SIGXFSZ SIGPWR SIGSYS alarm setitimer getitimer pause
pthread_kill pthread_sigmask sigwait sigwaitinfo sigtimedwait sigpending siginterrupt
""".split()  # noqa: SIM905
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
REFUSED = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')

real = types.SimpleNamespace(
    CDLL=ctypes.CDLL,
    import_=builtins.__import__,
    kill=os.kill,
    open=io.open,
    signal=signal.signal,
    os_open=os.open,
    os_fsync=os.fsync,
    os_link=os.link,
    os_mkdir=os.mkdir,
    os_rename=os.rename,
    os_replace=os.replace,
    os_unlink=os.unlink,
    os_rmdir=os.rmdir,
)
created: dict[str, str] = {}  # by its name in lower case: a path that this process has created


def of_the_project(frame: types.FrameType) -> bool:
    """Return whether a frame runs the project's own code."""
    file = os.path.abspath(frame.f_code.co_filename)
    return file.startswith(ROOT) and "site-packages" not in file and file != __file__


def take_away(module: types.ModuleType, names: list[str]) -> None:
    """Take names of a module away from the project; libraries still find them."""
    kept = {name: module.__dict__.pop(name) for name in names if name in module.__dict__}

    def __getattr__(name: str) -> object:
        if name in kept and not of_the_project(sys._getframe(1)):
            return kept[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} (on Windows)")

    module.__getattr__ = __getattr__  # type: ignore[method-assign]


def import_(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and name in MODULES and of_the_project(sys._getframe(1)):
        raise ModuleNotFoundError(f"No module named {name!r} (on Windows)", name=name)
    module = real.import_(name, globals, locals, fromlist, level)
    if name == "psutil" and not hasattr(module.Process, "_of_linux"):
        module.Process._of_linux = module.Process.memory_info
        module.Process.memory_info = memory_info
    return module


def memory_info(process):
    """What psutil tells on Windows, as far as the project asks for it."""
    status = real.open(f"/proc/{process.pid}/status", encoding="utf-8").read()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    return types.SimpleNamespace(**process._of_linux()._asdict(), peak_wset=peak)


class CDLL(ctypes.CDLL):
    def __init__(self, name, *arguments, **keywords):
        if name is None and of_the_project(sys._getframe(1)):
            raise TypeError("argument of type 'NoneType' is not iterable")
        super().__init__(name, *arguments, **keywords)


# Files


def refuse_name(path) -> None:
    """Refuse a path that cannot be created."""
    if isinstance(path, int):
        return
    whole = os.path.abspath(os.fsdecode(path))
    for part in Path(whole).parts[1:]:
        if REFUSED.search(part) or RESERVED.fullmatch(part):
            raise OSError(errno.EINVAL, "WinError 123: the name is not valid on Windows", whole)
    other = created.setdefault(whole.casefold(), whole)
    if other != whole and os.path.lexists(other):
        raise FileExistsError(errno.EEXIST, f"on Windows this is one file with {other}", whole)
    created[whole.casefold()] = whole


def processes() -> list[str]:
    noted = os.environ.get("IMITATION_PROCESSES")
    return sorted({str(os.getpid()), *(os.listdir(noted) if noted else ())})


def refuse_in_use(path) -> None:
    """Refuse to move or remove what a process has open; a sharing violation, WinError 32."""
    try:
        found = os.stat(path)
    except OSError:
        return
    whole = os.path.realpath(os.fsdecode(path))
    within = whole + os.sep if os.path.isdir(whole) else None
    for process in processes():
        if user := user_of(found, whole, within, f"/proc/{process}"):
            message = f"WinError 32: process {process} has {user} open"
            raise PermissionError(errno.EACCES, message, os.fsdecode(path))


def user_of(found: os.stat_result, whole: str, within: str | None, process: str) -> str | None:
    """Return the path in use by a process: of the same file, or within the folder; None if there is none."""
    try:
        descriptors = [f"{process}/fd/{name}" for name in os.listdir(f"{process}/fd")]
        mapped = {
            line.split(maxsplit=5)[5] for line in real.open(f"{process}/maps", encoding="utf-8") if line.count(os.sep)
        }
    except OSError:  # it has ended
        return None
    for descriptor in [*descriptors, f"{process}/cwd"]:
        try:
            target, its = os.readlink(descriptor), os.stat(descriptor)
        except OSError:
            continue
        if (its.st_dev, its.st_ino) == (found.st_dev, found.st_ino) or (within and target.startswith(within)):
            return target
    return next((file for file in map(str.strip, mapped) if file == whole or file.startswith(within or "//")), None)


def open_(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    if not isinstance(file, int) and not opener:
        name = os.fsdecode(file)
        if name == "/proc/cpuinfo" or name.startswith("/sys/"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory (on Windows)", name)
        if os.path.isdir(name):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        if set(mode) & set("wax+") and not name.startswith("/dev/"):
            refuse_name(name)
    if "b" not in mode:
        encoding = "cp1252" if encoding in (None, "locale") else encoding
        newline = "\r\n" if newline is None and set(mode) & set("wax") else newline
    return real.open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def os_open(path, flags, mode=0o777, *, dir_fd=None):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", os.fsdecode(path))
    if flags & os.O_CREAT:
        refuse_name(path)
    return real.os_open(path, flags, mode, dir_fd=dir_fd)


def fsync(descriptor):
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    real.os_fsync(descriptor)


def mkdir(path, *arguments, **keywords):
    refuse_name(path)
    real.os_mkdir(path, *arguments, **keywords)


def rename(source, target, **keywords):
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "WinError 183: the target exists", os.fsdecode(target))
    refuse_in_use(source)
    refuse_name(target)
    real.os_rename(source, target, **keywords)


def replace(source, target, **keywords):
    if os.path.isdir(target):
        raise PermissionError(errno.EACCES, "WinError 5: the target is a folder", os.fsdecode(target))
    refuse_in_use(source)
    refuse_in_use(target)
    refuse_name(target)
    real.os_replace(source, target, **keywords)


def unlink(path, **keywords):
    refuse_in_use(path)
    real.os_unlink(path, **keywords)


def rmdir(path, **keywords):
    refuse_in_use(path)
    real.os_rmdir(path, **keywords)


def link(source, target, **keywords):
    if "IMITATION_FAT" in os.environ:
        raise OSError(errno.EINVAL, "WinError 1: the file system has no hard links", os.fsdecode(target))
    refuse_name(target)
    real.os_link(source, target, **keywords)


def symlink(source, target, *arguments, **keywords):
    raise OSError(errno.EINVAL, "WinError 1314: a privilege is missing", os.fsdecode(target))


# Processes and signals


def kill(pid, signum):
    real.kill(pid, 9)


def signal_(signum, handler):
    allowed = {signal.SIGINT, signal.SIGTERM, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
    if of_the_project(sys._getframe(1)) and signum not in {*allowed, signal.SIGBREAK}:
        raise ValueError("invalid signal value")
    return real.signal(signum, handler)


class Popen(subprocess.Popen):
    def __init__(self, *arguments, **keywords):
        if of_the_project(sys._getframe(1)) or sys._getframe(1).f_code.co_filename == subprocess.__file__:
            if keywords.get("preexec_fn"):
                raise ValueError("preexec_fn is not supported on Windows platforms")
            own_group = keywords.pop("creationflags", 0) & subprocess.CREATE_NEW_PROCESS_GROUP
            keywords["start_new_session"] = bool(own_group)
            if (keywords.get("text") or keywords.get("universal_newlines")) and not keywords.get("encoding"):
                keywords["encoding"] = "cp1252"
        super().__init__(*arguments, **keywords)


def locking(descriptor, mode, count):
    """Lock bytes from the current position on, as `msvcrt.locking`."""
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        kind = fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(descriptor, kind, count, start)
    except OSError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


def install() -> None:
    msvcrt = types.ModuleType("msvcrt", "Imitated.")
    msvcrt.__dict__.update(LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, LK_RLCK=3, LK_NBRLCK=4, locking=locking)
    sys.modules["msvcrt"] = msvcrt
    signal.SIGBREAK = signal.SIGQUIT
    take_away(os, OS)
    take_away(signal, SIGNAL)
    builtins.__import__ = import_
    builtins.open = io.open = open_
    os.open, os.fsync, os.mkdir, os.rename, os.replace = os_open, fsync, mkdir, rename, replace
    os.unlink, os.remove, os.rmdir, os.link, os.symlink = unlink, unlink, rmdir, link, symlink
    os.kill, signal.signal, ctypes.CDLL = kill, signal_, CDLL
    shutil._use_fd_functions = False
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile
    subprocess.CREATE_NEW_PROCESS_GROUP, subprocess.CREATE_NO_WINDOW = 0x200, 0x08000000
    subprocess.Popen = Popen
    contexts = multiprocessing.context._concrete_contexts
    for name in ("fork", "forkserver"):
        contexts.pop(name, None)
    multiprocessing.context._default_context._default_context = contexts["spawn"]
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    os.environ["PROCESSOR_IDENTIFIER"] = "Intel64 Family 6 Model 143 Stepping 8, GenuineIntel"
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream is not None and not stream.isatty():
            stream.reconfigure(encoding="cp1252", **({} if stream is sys.stdin else {"newline": "\r\n"}))
    if noted := os.environ.get("IMITATION_PROCESSES"):
        real.open(os.path.join(noted, str(os.getpid())), "w", encoding="utf-8").close()


install()
