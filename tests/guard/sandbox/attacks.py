"""A step that attacks: each function does one thing that the walls have to stop, and returns when it came through.

Run as a program: it prints a JSON object of attack → "came through", or what stopped it. It is inert: what it would
write are comments, what it would send is nothing, and the signals that it sends do nothing.
"""

import ctypes
import json
import mmap
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

home, data, out, outside = sys.argv[1:5]
monitor = os.getppid()
key = f"{home}/.ssh/id_rsa"
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def read(path, **more):
    descriptor = os.open(path, os.O_RDONLY, **more)
    try:
        os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def write(path):
    with open(path, "a") as file:
        file.write("# harmless\n")


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def read_key():
    read(key)


def read_key_through_link_in_input():
    read(f"{data}/link")


def read_key_through_own_link():
    os.symlink(key, f"{out}/link")
    read(f"{out}/link")


def read_key_through_hard_link():
    os.link(key, f"{out}/hard")
    read(f"{out}/hard")


def read_key_through_own_root():
    read(f"/proc/self/root{key}")


def read_key_through_monitors_root():
    read(f"/proc/{monitor}/root{key}")


def read_key_through_working_directory():
    os.chdir(f"{home}/.ssh")
    try:
        read("/proc/self/cwd/id_rsa")
    finally:
        os.chdir(out)


def read_key_from_directory_descriptor():
    folder = os.open(f"{home}/.ssh", os.O_PATH | os.O_DIRECTORY)
    read("id_rsa", dir_fd=folder)


def read_key_from_inherited_descriptor():
    for number in range(3, 200):
        try:
            read("id_rsa", dir_fd=number)
            return
        except OSError:
            continue
    raise OSError(9, "no descriptor leads there")


def read_key_by_handle():
    class Handle(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_ubyte * 128))

    handle, mount = Handle(128), ctypes.c_int()
    call(303, ctypes.c_int(-100), key.encode(), ctypes.byref(handle), ctypes.byref(mount), 0)
    os.read(call(304, ctypes.c_int(-100), ctypes.byref(handle), os.O_RDONLY), 100)


def read_key_by_bind_mount():
    os.mkdir(f"{out}/mounted")
    if libc.unshare(0x10020000):
        raise OSError(ctypes.get_errno(), "unshare")
    mount(f"{home}/.ssh", f"{out}/mounted", 4096)
    read(f"{out}/mounted/id_rsa")


def mount(source, target, flags, kind=None):
    if libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), "mount")


def mount_over_input():
    mount("none", data, 0, b"tmpfs")


def move_key():
    os.rename(f"{home}/.ssh", f"{out}/ssh")


def read_undeclared():
    read(f"{home}/labels/test.csv")


def list_home():
    os.listdir(home)


def read_shadow():
    read("/etc/shadow")


def read_signing_key():
    read(f"{home}/elsewhere/signing.pem")


def read_signing_key_in_input():
    read(f"{data}/signing.pem")


def read_shared_file_memory():
    read(f"/dev/shm/assay-test-{outside}")


def read_shared_memory():
    identifier = call(29, ctypes.c_int(int(outside)), ctypes.c_size_t(0), 0)  # shmget
    call(30, identifier, None, 0o10000)  # shmat, SHM_RDONLY


def write_bashrc():
    write(f"{home}/.bashrc")


def truncate_bashrc():
    os.truncate(f"{home}/.bashrc", 0)


def remove_bashrc():
    os.unlink(f"{home}/.bashrc")


def replace_bashrc():
    write(f"{out}/bashrc")
    os.replace(f"{out}/bashrc", f"{home}/.bashrc")


def write_pth():
    write(f"{home}/.local/lib/python3.11/site-packages/harmless.pth")


def write_cron():
    write("/etc/cron.d/assay-test")


def write_input():
    write(f"{data}/train.csv")


def add_to_input():
    write(f"{data}/more.csv")


def write_core_pattern():
    with open("/proc/sys/kernel/core_pattern", "r+") as file:
        pattern = file.read()
        file.seek(0)
        file.write(pattern)


def make_device():
    os.mknod(f"{out}/device", 0o060600, os.makedev(7, 0))


def open_memory_device():
    read("/dev/mem")


def open_terminals():
    descriptor, _ = os.openpty()
    os.close(descriptor)


def run_shell():
    run("/bin/sh", "-c", ":")


def run_shell_through_loader():
    with open(sys.executable, "rb") as file:
        start = file.read(1 << 16)
    at = start.index(b"/ld-linux")
    loader = start[start.rindex(b"\0", 0, at) + 1 : start.index(b"\0", at)].decode()
    run(loader, "/bin/sh", "-c", ":")


def run_planted_program():
    with open(f"{out}/program", "w") as file:
        file.write(f"#!{sys.executable}\n")
    os.chmod(f"{out}/program", 0o700)
    run(f"{out}/program")


def run_program_in_memory():
    with open(sys.executable, "rb") as file:
        program = file.read()
    memory = os.memfd_create("harmless")
    os.write(memory, program)
    run_descriptor(memory)


def run_descriptor(descriptor):
    child = os.fork()
    if not child:
        try:
            os.execve(descriptor, ["python", "-I", "-S", "-c", ""], {})
        finally:
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(13, f"it ended with {status}")


def run_program_in_shared_memory():
    place = f"/dev/shm/assay-test-program-{outside}"  # nobody else's, who attacks at the same time
    with open(place, "wb") as file, open(sys.executable, "rb") as program:
        shutil.copyfileobj(program, file)
    try:
        os.chmod(place, 0o700)
        run(place, "-I", "-S", "-c", "")
    finally:
        os.unlink(place)


def map_own_file_as_code():
    mapped_as_code(out)


def map_temporary_file_as_code():
    mapped_as_code(os.environ["TMPDIR"])


def map_shared_memory_as_code():
    mapped_as_code("/dev/shm")


def mapped_as_code(folder):
    """What loading a library comes down to."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def change_permissions():
    os.chmod(f"{home}/labels/test.csv", 0o600)


def change_times():
    os.utime(f"{home}/labels/test.csv")


def trace_monitor():
    if libc.ptrace(0x4206, monitor, None, None) == -1:  # PTRACE_SEIZE
        raise OSError(ctypes.get_errno(), "ptrace")


def read_memory_of_monitor():
    read(f"/proc/{monitor}/mem")


def write_memory_of_monitor():
    os.open(f"/proc/{monitor}/mem", os.O_RDWR)


def read_environment_of_monitor():
    read(f"/proc/{monitor}/environ")


def take_descriptor_of_monitor():
    call(438, os.pidfd_open(monitor), 0, 0)


def enter_namespace_of_monitor():
    if libc.setns(os.open(f"/proc/{monitor}/ns/mnt", os.O_RDONLY), 0):
        raise OSError(ctypes.get_errno(), "setns")


def signal_monitor():
    os.kill(monitor, signal.SIGCONT)


def signal_other_process():
    os.kill(int(outside), signal.SIGCONT)


def limit_monitor():
    import resource

    resource.prlimit(monitor, resource.RLIMIT_CORE, (0, 0))


def connect_to_agent():
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(f"{home}/agent.sock")


def connect_to_abstract_socket():
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(f"\0assay-test-{outside}")


def use_ring():
    call(425, 1, ctypes.create_string_buffer(120))


def use_keyring():
    call(250, 0, ctypes.c_int(-4), 1)  # KEYCTL_GET_KEYRING_ID of the user's


def change_root():
    os.chroot(data)


def gain_privileges():
    if libc.prctl(39, 0, 0, 0, 0) == 1:  # PR_GET_NO_NEW_PRIVS
        raise OSError(1, "no_new_privs")


def read_undeclared_variable():
    if "ASSAY_TEST_TOKEN" not in os.environ:
        raise OSError(2, "it is not there")


def honest_work():
    read(f"{data}/train.csv")
    write(f"{out}/first")
    os.rename(f"{out}/first", f"{out}/second")
    os.link(f"{out}/second", f"{out}/third")
    os.makedirs(f"{out}/deep/er")
    os.replace(f"{out}/third", f"{out}/deep/er/third")
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    with multiprocessing.Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    run(sys.executable, "-I", "-S", "-c", "")
    memory = os.memfd_create("honest")
    assert os.write(memory, b"x") == 1
    assert not any(path.endswith(".pyc") for path in os.listdir(out))


if __name__ == "__main__":
    os.chdir(out)
    told = {}
    for name, attack in list(globals().items()):
        if name == "run" or getattr(attack, "__module__", "") != "__main__" or attack.__code__.co_argcount:
            continue
        try:
            attack()
            told[name] = "came through"
        except (OSError, subprocess.CalledProcessError) as error:
            told[name] = f"stopped: {error}"
    with open(f"{out}/told.json", "w") as file:
        json.dump(told, file)
