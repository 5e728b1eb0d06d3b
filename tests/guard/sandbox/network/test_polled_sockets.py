"""Programs that poll a socket before they connect it (as Go's runtime does) are told what becomes of it."""

from __future__ import annotations

import sys
import textwrap
from contextlib import ExitStack

import pytest

from assay.collect.trace.interface import Decision
from collect.trace.steps import compiled
from guard.sandbox.network import outside

POLLED = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int poller;

static unsigned next(unsigned long *word) {
    struct epoll_event event;
    int count = epoll_wait(poller, &event, 1, 60000);
    if (count != 1) { printf("stalled\n"); exit(7); }
    *word = event.data.u64;
    return event.events;
}

int main(int argc, char **argv) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int round = 0; round < 3; round++) {
        int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        unsigned long word, mine = 0xfedcba9876543210ul + round;
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u64 = mine}};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, sock, &event)) return 2;
        struct sockaddr_in to = {AF_INET, htons(atoi(argv[1])), {htonl(INADDR_LOOPBACK)}};
        int made = connect(sock, (struct sockaddr *)&to, sizeof to);
        if (made && errno != EINPROGRESS) { printf("connect: %s\n", strerror(errno)); return 3; }
        for (;;) {
            unsigned events = next(&word);
            if (word != mine) { printf("foreign %lx\n", word); return 4; }
            int error; socklen_t size = sizeof error;
            getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) { printf("error: %s\n", strerror(error)); return 5; }
            struct sockaddr_in peer; socklen_t length = sizeof peer;
            if ((events & EPOLLOUT) && !getpeername(sock, (struct sockaddr *)&peer, &length)) break;
        }
        event.events = EPOLLIN; event.data.u64 = mine + 100;
        if (epoll_ctl(poller, EPOLL_CTL_MOD, sock, &event)) { printf("mod: %s\n", strerror(errno)); return 6; }
        if (write(sock, "ping", 4) != 4) return 8;
        char text[16] = "";
        next(&word);
        if (word != mine + 100 || read(sock, text, 15) != 5) return 9;
        printf("%s\n", text);
        if (epoll_ctl(poller, EPOLL_CTL_DEL, sock, 0)) { printf("del: %s\n", strerror(errno)); return 10; }
        close(sock);
    }
    return 0;
}
"""


@pytest.fixture
def server():
    with ExitStack() as stack:
        yield outside.closing(stack, outside.tcp())


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("polled"), POLLED)


def test_the_program_itself(program, server):
    import subprocess

    done = subprocess.run([program, str(server.port)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "hello\n" * 3)


@pytest.mark.parametrize("mechanism", ["namespace", "landlock+mediation"])
def test_a_socket_that_is_polled_before_it_is_connected(program, mechanism, tmp_path, server):
    trace, text = outside.step(
        [program, str(server.port)], tmp_path, network=[f"127.0.0.1:{server.port}"], mechanism=mechanism, seconds=120
    )
    assert (trace.exit_code, text) == (0, "hello\n" * 3)
    contacts = [item for item in trace.contacts if item.port == server.port]
    assert len(contacts) == 3 and {item.decision for item in contacts} == {Decision.MEDIATED}


def test_other_polled_descriptors_and_pollers_are_left_alone(tmp_path, server):
    code = f"""
        import os, select, socket, time
        pipe = os.pipe()
        pollers = [select.epoll() for _ in range(3)]
        for poller in pollers:
            poller.register(pipe[0], select.EPOLLIN)
        client = socket.socket()
        client.setblocking(False)
        for poller in pollers[1:]:
            poller.register(client, select.EPOLLOUT)
        client.connect_ex(("127.0.0.1", {server.port}))
        for poller in pollers[1:]:
            while (client.fileno(), select.EPOLLOUT) not in poller.poll(60):
                time.sleep(0.01)
        assert pollers[0].poll(0) == []
        os.write(pipe[1], b"x")
        assert all((pipe[0], select.EPOLLIN) in poller.poll(60) for poller in pollers)
        pollers[1].unregister(client)
        pollers[2].modify(client, select.EPOLLIN)
        client.setblocking(True)
        print(client.recv(9).decode())
    """
    command = [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]
    trace, text = outside.step(
        command, tmp_path, network=[f"127.0.0.1:{server.port}"], mechanism="namespace", seconds=120
    )
    assert (trace.exit_code, text) == (0, "hello\n")


def test_where_it_cannot_be_had_the_refusal_is_named(program, tmp_path, server):
    """Without ``pidfd_getfd`` nobody can poll the socket in its place: the step is not left to stall."""
    trace, text = outside.step(
        [program, str(server.port)],
        tmp_path,
        network=[f"127.0.0.1:{server.port}"],
        mechanism="landlock+mediation",
        seconds=120,
        pidfd_getfd="not here",
    )
    assert text.startswith("connect: ") and trace.exit_code == 3
    (contact,) = [item for item in trace.contacts if item.port == server.port]
    assert (contact.decision, contact.rule) == (Decision.DENIED, "net:polled-before")
