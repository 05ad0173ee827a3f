"""Tries what a service in a sandbox must not be able to do, and says what it got for each."""
import ctypes
import errno
import os
import signal
import socket
import struct
import threading

import lever

LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {  # of x86-64
    "ptrace": 101, "process_vm_readv": 310, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
    "unshare": 272, "setns": 308, "clone": 56, "clone3": 435, "bpf": 321, "perf_event_open": 298,
    "io_uring_setup": 425, "userfaultfd": 323, "add_key": 248, "init_module": 175, "kexec_load": 246,
    "reboot": 169, "open_by_handle_at": 304, "settimeofday": 164, "sethostname": 170, "personality": 135,
    "pidfd_getfd": 438, "move_mount": 429,
}
NEW_USER = 0x10000000
MKNOD_NULL = os.makedev(1, 3)


def call(name, *arguments):
    """A system call past the C library. `None` where it worked."""
    words = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    if LIBC.syscall(ctypes.c_long(NUMBERS[name]), *words) < 0:
        raise OSError(ctypes.get_errno(), name)


def write(path):
    with open(path, "w") as file:
        file.write("here")


def read(path):
    with open(path, "rb") as file:
        return file.read(1)


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(address)


def only_its_own_below(folder, own):
    """Listing a folder of which its own bundle's is all that may be there."""
    if os.listdir(folder) == [own]:
        raise OSError(errno.ENOENT, "nothing else is there")


def become_root():
    os.setuid(0)


def bind_port_80():
    with socket.socket() as server:
        server.bind(("0.0.0.0", 80))


def attempts(host):
    data, own = host["data_dir"], os.getcwd()
    return {
        "read /etc/shadow": lambda: read("/etc/shadow"),
        "read /etc/passwd": lambda: read("/etc/passwd"),
        "list /root": lambda: os.listdir("/root"),
        "read the host's registry": lambda: read(data + "/registry/registry.db"),
        "read another service's bundle": lambda: read(host["other_file"]),
        "list the bundles": lambda: only_its_own_below(os.path.dirname(own), os.path.basename(own)),
        "read another process's environment": lambda: read(f"/proc/{host['other_pid']}/environ"),
        "read the kernel's memory": lambda: read("/proc/kcore"),
        "read the disk": lambda: read("/dev/vda"),
        "write into its bundle": lambda: write(own + "/x"),
        "write into the root": lambda: write("/x"),
        "write into /usr": lambda: write("/usr/x"),
        "write into /dev": lambda: write("/dev/x"),
        "set the kernel's core pattern": lambda: write("/proc/sys/kernel/core_pattern"),
        "make a device": lambda: os.mknod("/tmp/null", 0o20666, MKNOD_NULL),
        "signal the host": lambda: os.kill(host["host_pid"], signal.SIGCONT),
        "signal another service": lambda: os.kill(host["other_pid"], signal.SIGCONT),
        "trace": lambda: call("ptrace", 16, 1, 0, 0),
        "read a process's memory": lambda: call("process_vm_readv", 1, 0, 0, 0, 0, 0),
        "take a process's descriptor": lambda: call("pidfd_getfd", 0, 0, 0),
        "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, b""),
        "move a mount": lambda: call("move_mount", -100, b"/tmp", -100, b"/", 0),
        "unmount /proc": lambda: call("umount2", b"/proc", 2),
        "pivot_root": lambda: call("pivot_root", b"/tmp", b"/tmp"),
        "chroot": lambda: call("chroot", b"/tmp"),
        "make a user namespace": lambda: call("unshare", NEW_USER),
        "make one by clone": lambda: call("clone", NEW_USER | signal.SIGCHLD, 0, 0, 0, 0),
        "make one by clone3": lambda: call("clone3", struct.pack("<8Q", NEW_USER, *[0] * 7), 64),
        "enter a namespace": lambda: call("setns", 0, 0),
        "become root": become_root,
        "open a file by its handle": lambda: call("open_by_handle_at", 0, b"\0" * 64, 0),
        "load a program into the kernel": lambda: call("bpf", 0, b"\0" * 64, 64),
        "load a module": lambda: call("init_module", b"", 0, b""),
        "load a kernel": lambda: call("kexec_load", 0, 0, 0, 0),
        "watch the machine's counters": lambda: call("perf_event_open", b"\0" * 128, 0, -1, -1, 0),
        "use io_uring": lambda: call("io_uring_setup", 4, b"\0" * 128),
        "handle page faults": lambda: call("userfaultfd", 1),
        "keep a key in the kernel": lambda: call("add_key", b"user", b"x", b"y", 1, -3),
        "restart the machine": lambda: call("reboot", 0, 0, 0, 0),
        "set the clock": lambda: call("settimeofday", b"\0" * 16, 0),
        "set the host name": lambda: call("sethostname", b"x", 1),
        "turn address randomisation off": lambda: call("personality", 0x0040000),
        "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "open a vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        "connect to the host's port": lambda: connect(socket.AF_INET, ("127.0.0.1", host["port"])),
        "connect beyond the machine": lambda: connect(socket.AF_INET, ("192.0.2.1", 80)),
        "connect to the host's introduction socket": lambda: connect(socket.AF_UNIX, data + "/introduction.sock"),
        "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + host["abstract"]),
        "listen on port 80": bind_port_80,
    }


def try_all(host):
    got = {}
    for name, attempt in attempts(host).items():
        try:
            attempt()
            got[name] = "could"
        except OSError as error:
            got[name] = "timeout" if error.errno is None else errno.errorcode[error.errno]
    return got


@lever.method
async def on_the_loop(host):
    return try_all(host)


@lever.method
def on_a_worker_thread(host):
    got = {}
    thread = threading.Thread(target=lambda: got.update(try_all(host)))
    thread.start()
    thread.join()
    return got


@lever.method
async def status():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":\t", 1) for line in file.read().splitlines())
    wanted = ("NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return {name: fields[name] for name in wanted}


@lever.method
async def surroundings():
    return {
        "pid": os.getpid(), "session": os.getsid(0), "TMPDIR": os.environ.get("TMPDIR"),
        "sandbox": os.environ.get("LEVER_SANDBOX"), "root": sorted(os.listdir("/")),
        "tmp": sorted(os.listdir("/tmp")), "interfaces": [name for _, name in socket.if_nameindex()],
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:5],
    }


@lever.method
async def use_tmp():
    write("/tmp/own")
    return read("/tmp/own").decode() + read("/var/tmp/own").decode()


# ---- What takes all that it can ----

@lever.method
def fill_tmp():
    written = 0
    try:
        with open("/tmp/full", "wb", buffering=0) as file:
            while written < 4 << 30:
                written += file.write(b"x" * (1 << 20))
    except OSError as error:
        os.unlink("/tmp/full")
        return [errno.errorcode[error.errno], written >> 20]


@lever.method
def open_descriptors():
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        count = len(held)
        for descriptor in held:
            os.close(descriptor)
        return [errno.errorcode[error.errno], count]


@lever.method
def fork():
    children = []
    try:
        while True:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    except OSError as error:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return [errno.errorcode[error.errno], len(children)]


@lever.method
def fill_log(megabytes):
    line = b"x" * 1023 + b"\n"
    for _ in range(megabytes << 10):
        os.write(1, line)


@lever.method
def eat_memory():
    held = []
    while True:
        held.append(bytearray(b"x" * (8 << 20)))
